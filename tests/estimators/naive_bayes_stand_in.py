"""A plugin for pytest: scikit-learn's own tests of Naive Bayes get our estimators where they import theirs."""

from sklearn import naive_bayes

from manyhands import estimators  # has to know theirs before they are replaced

for name in ("BernoulliNB", "CategoricalNB", "GaussianNB", "MultinomialNB"):
    setattr(naive_bayes, name, getattr(estimators, name))
