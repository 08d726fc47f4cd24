"""A table with text and holes, trained by many workers: a scikit-learn pipeline around our MLPClassifier.

python examples/pipeline.py            (needs pandas)
"""

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import load_wine
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from manyhands import MLPClassifier


def table() -> tuple[pd.DataFrame, pd.Series]:
    """Return scikit-learn's wines as such tables often are: one column in words, and every twentieth cell empty."""
    features, kind = load_wine(return_X_y=True, as_frame=True)
    features["magnesium"] = pd.cut(features["magnesium"], 3, labels=["low", "middle", "high"]).astype(object)
    holes = np.random.default_rng(0).random(features.shape) < 0.05
    return features.mask(holes, np.nan), kind.map({0: "Barolo", 1: "Grignolino", 2: "Barbera"})


def main() -> None:
    """Choose the width of the hidden layer by cross-validation, and try the choice on rows that were not used."""
    features, kind = table()
    words = make_column_selector(dtype_include=[object, "string"])
    numbers = make_column_selector(dtype_include="number")
    prepare = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")), words),
        (make_pipeline(SimpleImputer(), StandardScaler()), numbers),
    )
    network = MLPClassifier(learning_rate_init=0.01, max_iter=300, batch_size=20, n_workers=2, random_state=0)
    pipeline = make_pipeline(prepare, network)
    train, test, known, hidden = train_test_split(features, kind, test_size=0.3, stratify=kind, random_state=0)
    widths = {"mlpclassifier__hidden_layer_sizes": [(8,), (32,)]}
    search = GridSearchCV(pipeline, widths, cv=3).fit(train, known)
    print("chosen  ", search.best_params_["mlpclassifier__hidden_layer_sizes"])
    print(f"accuracy {search.score(test, hidden):.1%} of {len(test)} wines that were not used")


if __name__ == "__main__":
    main()
