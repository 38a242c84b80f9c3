"""Predictions by label, from a process of their own.

    python -m tests.scenario.traffic OUT RATE ADDRESS…

Asks every server RATE times a second for half_plus_two at 2.0 by the label `stable` until its
standard input ends, and writes one line an answer: begin, end, version, y, or -1 and the error.
"""

import sys
import threading
import time
from pathlib import Path

import grpc

from control_plane.serving import stubs

TIMEOUT_S = 10.0


def request() -> stubs.PredictRequest:
    asked = stubs.PredictRequest()
    asked.model_spec.name = "half_plus_two"
    asked.model_spec.version_label = "stable"
    asked.inputs["x"].dtype = 1
    asked.inputs["x"].tensor_shape.dim.add().size = 1
    asked.inputs["x"].float_val.append(2.0)
    return asked


def ask(predict: stubs.PredictionServiceStub, asked: stubs.PredictRequest) -> str:
    began = time.time()
    try:
        answer = predict.Predict(asked, timeout=TIMEOUT_S)
        told = f"{answer.model_spec.version.value} {answer.outputs['y'].float_val[0]}"
    except grpc.RpcError as error:
        told = f"-1 {error.code().name}: {error.details()}"
    return f"{began} {time.time()} {told}\n"


def keep_asking(address: str, rate: float, told: list[str], over: threading.Event) -> None:
    with grpc.insecure_channel(address) as channel:
        predict, asked = stubs.PredictionServiceStub(channel), request()
        due = time.monotonic()
        while not over.is_set():
            told.append(ask(predict, asked))
            due = max(due + 1 / rate, time.monotonic() - 0.1)
            over.wait(max(due - time.monotonic(), 0))


def main(file: str, rate: str, *addresses: str) -> None:
    over, told = threading.Event(), list[str]()
    threads = [
        threading.Thread(target=keep_asking, args=(address, float(rate), told, over))
        for address in addresses
    ]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    over.set()
    for thread in threads:
        thread.join()
    Path(file).write_text("".join(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
