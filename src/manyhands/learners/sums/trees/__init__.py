"""Decision trees and forests: scikit-learn's splits, found in codes of one byte; the same for any number of workers."""
