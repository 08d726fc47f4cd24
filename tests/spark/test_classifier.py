"""Spark's estimator: its parameters without any cluster, and fitting, scoring and saving in a real one."""

import numpy as np
import pytest

pytest.importorskip("pyspark")
pa = pytest.importorskip("pyarrow")

from pyspark.ml import Pipeline, PipelineModel  # noqa: E402
from pyspark.ml.evaluation import MulticlassClassificationEvaluator  # noqa: E402
from pyspark.ml.feature import VectorAssembler  # noqa: E402
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder  # noqa: E402

import manyhands  # noqa: E402
from manyhands.core.errors import SettingsError  # noqa: E402
from manyhands.spark import MLPClassifier, MLPClassifierModel  # noqa: E402
from manyhands.spark.parameters import SETTINGS  # noqa: E402

pytestmark = pytest.mark.filterwarnings("default")  # PySpark leaves sockets open


class TestParameters:
    def test_settings_of_a_run_are_parameters(self):
        given = {
            "num_workers": 3,
            "hidden": (20, 10),
            "epochs": 4,
            "strategy": "periodic:1epoch",
            "learning_rate": 0.01,
        }
        estimator = MLPClassifier(featuresCol="pixels", **given)
        spec = estimator.spec()
        assert (spec.workers, spec.network.hidden, spec.epochs) == (3, (20, 10), 4)
        assert (spec.strategy, spec.network.learning_rate) == ("periodic:1epoch", 0.01)
        assert estimator.getFeaturesCol() == "pixels"
        assert estimator.getOrDefault(estimator.epochs) == 4
        assert {each.name for each in estimator.params} >= {*SETTINGS, "labelCol", "predictionCol", "probabilityCol"}

    def test_a_copy_with_other_values_is_another_one(self):
        first = MLPClassifier(epochs=4)
        second = first.copy({first.epochs: 9, first.num_workers: 2})
        assert (first.spec().epochs, second.spec().epochs, second.spec().workers) == (4, 9, 2)
        assert second.setParams(seed=5).spec().seed == 5

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ({"epoch": 3}, "no parameter 'epoch'; did you mean 'epochs'"),
            ({"epochs": 0}, "epochs"),
            ({"activation": "magic"}, "activation"),
            ({"num_workers": "many"}, "num_workers"),
            ({"team": "mpi"}, "no parameter 'team'"),
        ],
    )
    def test_what_cannot_be_is_refused_when_it_is_set(self, given, words):
        with pytest.raises(TypeError, match=words):
            MLPClassifier(**given)

    def test_a_strategy_is_read_before_anything_is_sent(self):
        with pytest.raises((SettingsError, TypeError), match="unknown strategy"):
            MLPClassifier(strategy="magic").spec().parsed  # noqa: B018


@pytest.fixture(scope="module")
def frames(spark, digits, tmp_path_factory):
    """Training and test rows as frames of bytes."""
    import pyarrow.parquet as pq

    folder, found = tmp_path_factory.mktemp("frames"), []
    for name, samples in (("train", digits.train), ("test", digits.test)):
        columns = {
            "features": pa.array([row.tobytes() for row in samples.features], pa.binary()),
            "label": pa.array(digits.classes[samples.labels]),
            "row": pa.array(range(samples.rows)),
        }
        pq.write_table(pa.table(columns), folder / name, row_group_size=300)
        found.append(spark.read.parquet(f"file://{folder}/{name}"))
    return found


@pytest.mark.slow
class TestInACluster:
    def test_fit_transform_save_and_load(self, frames, digits, tmp_path):
        train, test = frames
        how = {"strategy": "gradient", "epochs": 20, "batch": 50, "hidden": (30,)}
        model = MLPClassifier(num_workers=2, **how).fit(train)
        theirs = manyhands.train(digits, workers=2, **how)
        scored = model.transform(test).orderBy("row").toPandas()
        rows = digits.test.features
        assert scored["prediction"].tolist() == theirs.model.predict(rows).astype(float).tolist()
        found = np.stack([each.toArray() for each in scored["probability"]])
        np.testing.assert_allclose(found, theirs.model.predict_proba(rows), atol=1e-6)
        assert (
            MulticlassClassificationEvaluator(metricName="accuracy").evaluate(model.transform(test)) == theirs.accuracy
        )
        model.write().overwrite().save(f"file://{tmp_path}/saved")
        again = MLPClassifierModel.load(f"file://{tmp_path}/saved")
        assert again.uid == model.uid
        assert again.transform(test).orderBy("row").toPandas()["prediction"].tolist() == scored["prediction"].tolist()
        model.save_safetensors(tmp_path / "model.safetensors")
        assert (manyhands.load_model(tmp_path / "model.safetensors").predict(rows) == theirs.model.predict(rows)).all()
        np.testing.assert_allclose(model.to_sklearn().predict_proba(rows), theirs.model.predict_proba(rows), atol=1e-5)

    def test_in_a_pipeline_with_vectors_and_words(self, spark, frames, tmp_path):
        train = (
            frames[0]
            .limit(400)
            .selectExpr(
                "cast(row % 7 as double) as a", "cast(row % 3 as double) as b", "if(row % 3 = 1, 'yes', 'no') as answer"
            )
        )
        estimator = MLPClassifier(labelCol="answer", epochs=60, batch=20, learning_rate=0.01)
        pipeline = Pipeline(stages=[VectorAssembler(inputCols=["a", "b"], outputCol="features"), estimator])
        fitted = pipeline.fit(train)
        fitted.write().overwrite().save(f"file://{tmp_path}/pipeline")
        scored = PipelineModel.load(f"file://{tmp_path}/pipeline").transform(train)
        assert scored.filter("prediction != answer").count() == 0

    def test_cross_validation(self, frames):
        estimator = MLPClassifier(strategy="gradient", epochs=3, batch=50)
        grid = ParamGridBuilder().addGrid(estimator.epochs, [1, 8]).build()
        evaluator = MulticlassClassificationEvaluator(metricName="accuracy")
        fitted = CrossValidator(
            estimator=estimator, estimatorParamMaps=grid, evaluator=evaluator, numFolds=2, seed=1
        ).fit(frames[0])
        assert fitted.avgMetrics[1] > fitted.avgMetrics[0]
        assert isinstance(fitted.bestModel, MLPClassifierModel)
