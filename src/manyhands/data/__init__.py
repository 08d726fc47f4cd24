"""Reading samples, finding known data sets, and the order in which workers use them."""
