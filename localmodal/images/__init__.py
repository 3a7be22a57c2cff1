"""Images: their layers, how each is made, and what a container that runs one must know.

`library` is what the control plane uses: it names images by what they depend on, and builds each once.
`builder` (a seam: `localmodal.recording` has another) finds what an image's message refers to.
`build` walks through an image's lines, which `dockerfile` reads, and says what `layers` (a seam) has to do for each:
    `container_layers`: a layer is the upper folder that commands in a container left over this machine's root
    `process_layers`: an image is a virtual environment, on a machine that cannot run containers
    `layer_folder`: what both have in common
`bases`, `pythons` and `environment` stand for images of a registry: this machine's root and a Python of its own.
`tools` are images that the control plane needs itself: the client for each Python, and uv.
"""
