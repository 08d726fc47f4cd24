"""Learners that are made of sums over samples: Naive Bayes, discriminant analysis, trees and forests."""
