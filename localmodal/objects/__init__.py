"""Named objects that outlive every container, and the files behind them."""
