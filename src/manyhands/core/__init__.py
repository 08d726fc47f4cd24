"""Floor 0: contracts and what all floors share: samples, learner, team, strategy, errors, randomness."""
