"""The titles of the axes of a study of networks in tables and figures."""

AXIS_TITLES = {
    "learning_rate": "learning rate",
    "weight_init": "start of the weights",
    "bias_init": "start of the biases",
    "hidden": "hidden layers",
}
