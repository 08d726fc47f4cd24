"""A plugin for pytest: scikit-learn's own tests get our estimators that are made of sums where they import theirs."""

from sklearn import discriminant_analysis, naive_bayes, tree

from manyhands import estimators  # has to know theirs before they are replaced

for home in (discriminant_analysis, naive_bayes, tree):
    for name in estimators.__all__:
        if hasattr(home, name):
            setattr(home, name, getattr(estimators, name))
