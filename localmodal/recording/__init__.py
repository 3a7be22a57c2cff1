"""A control plane that writes down what it is sent, and neither builds nor starts any of it: COLDSNAP_RECORD=1.

It shows what a deployment sends to Modal, on a machine that could not run it. Clients see no difference until they ask
for what only a container can give; that is refused, with the reason. Everything else is the control plane's own.
`images` and `containers` take the places of those who build and start; `report` reads what has arrived.
"""
