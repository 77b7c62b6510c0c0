"""What a Python inference service imports: the champion, followed; a challenger in its shadow; a log of predictions.

from retrain_trigger import serving

champion = serving.follow("models/champion.json")
log = serving.PredictionLog("logs/predictions")

answer = champion.answer(rows)
log.write(rows, answer)
"""

from retrain_trigger.serving.champion import Answer, Champion, follow
from retrain_trigger.serving.served_model import ServedModel, ServingError
from retrain_trigger.serving.shadow import Said
from retrain_trigger.serving.written_log import PredictionLog

__all__ = ["Answer", "Champion", "PredictionLog", "Said", "ServedModel", "ServingError", "follow"]
