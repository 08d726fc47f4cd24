"""Floor 1: models with their optimizers. One folder or file per learner."""
