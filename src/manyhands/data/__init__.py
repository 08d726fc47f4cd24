"""Floor 1: reading examples, finding known data sets, and the order in which workers use them."""
