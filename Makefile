.PHONY: setup demo test clean

setup:            ## everything that the rest needs; skips what is done
	@setup/all.sh

demo: setup       ## the local stack, an answer from its model, before and after
	@. setup/activate && coldsnap demo

test: setup       ## lint, types, import directions, every test
	@setup/for_tests.sh
	@. setup/activate && setup/check.sh

clean:            ## takes the stack down and removes all that was made
	@setup/clean.sh
