"""An HTTP service that answers with the champion: Flask for the routes, waitress for the threads.

python examples/service/service.py --pointer models/champion.json --log logs/predictions --port 8000
"""

import argparse
import logging
import signal
import sys
from typing import Any

import waitress
from flask import Flask, request
from flask.typing import ResponseReturnValue

from retrain_trigger import serving


def application(champion: serving.Champion, log: serving.PredictionLog) -> Flask:
    """Return the routes of a service that asks this champion and logs what it said."""
    app = Flask(__name__)

    @app.post("/predict")
    def predict() -> ResponseReturnValue:
        body: Any = request.get_json(silent=True)
        rows = body.get("rows") if isinstance(body, dict) else None
        if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
            return {"error": 'the body must be {"rows": [{...}, ...]}'}, 400
        try:
            answer = champion.answer(rows, scores=True)
        except ValueError as error:
            return {"error": str(error)}, 400
        ids = log.write(rows, answer)
        said = [value.item() if hasattr(value, "item") else value for value in answer.predictions]
        return {"version": answer.version, "predictions": said, "ids": ids}

    @app.get("/health")
    def health() -> ResponseReturnValue:
        state: dict[str, Any] = {"version": champion.version, "error": champion.error, "log_error": log.error}
        if champion.shadow:
            state["shadow"] = {"version": champion.shadow.version, "error": champion.shadow.error}
        return state

    return app


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description="Answer with the model that the pointer names.")
    parser.add_argument("--pointer", default="models/champion.json")
    parser.add_argument("--log", default="logs/predictions", help="folder of the prediction log")
    parser.add_argument("--shadow", action="store_true", help="ask the challenger as well, while there is one")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="0: any free one")
    parser.add_argument("--threads", type=int, default=8)
    chosen = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    log = serving.PredictionLog(chosen.log)
    with serving.follow(chosen.pointer, shadow=chosen.shadow) as champion:
        app = application(champion, log)
        server = waitress.create_server(app, host=chosen.host, port=chosen.port, threads=chosen.threads)
        print(f"{champion.version} answers on http://{chosen.host}:{server.effective_port}", flush=True)
        server.run()
    log.close()


if __name__ == "__main__":
    main()
