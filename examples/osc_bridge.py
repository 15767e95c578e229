"""A run plays along over OSC: what a controller sends is observed, what the run makes of it is sent back.

    python examples/osc_bridge.py [RUN [PORT [REPLY_PORT]]]

RUN is of gesture streams, `mdnrnn train gesture --data LOG --out RUN`. Messages `/interface x1 x2 ...` that come in on
PORT (by default 5000) are what a person plays; messages `/prediction x1 x2 ...` go out on REPLY_PORT (5001). While
someone plays, what may follow is said after each of their steps; after a second of silence the run answers, step by
step in its own time, until someone plays again. Needs python-osc: pip install -e ".[osc]".
"""

import contextlib
import sys
import threading
import time

import numpy as np
from pythonosc.dispatcher import Dispatcher
from pythonosc.osc_server import BlockingOSCUDPServer
from pythonosc.udp_client import SimpleUDPClient

import mdnrnn

SILENCE = 1.0
"""Seconds after which the call is over."""


class Bridge:
    """Between an interface and a performer: one thread hears, another answers, and the lock keeps their turns apart."""

    def __init__(self, run: mdnrnn.Run, port: int, reply_port: int) -> None:
        if not run.config.metadata.is_stream:
            raise mdnrnn.InputError(f"{run.folder} is of {run.config.metadata.name}; expected a run of gesture streams")
        self.player, self.client = mdnrnn.Performer(run), SimpleUDPClient("127.0.0.1", reply_port)
        self.controls = run.config.shape.features - 1
        self.turn, self.over, self.called = threading.Lock(), threading.Event(), threading.Event()
        self.last = self.heard = time.monotonic()
        """When anyone played last, and when a person did."""
        dispatcher = Dispatcher()
        dispatcher.map("/interface", self.hear)
        self.server = BlockingOSCUDPServer(("127.0.0.1", port), dispatcher)  # one message after the other

    def hear(self, address: str, *values: float) -> None:
        """A step that was played: observe it, and say what may follow."""
        with self.turn:
            now = time.monotonic()
            try:
                self.player.observe(np.array([max(now - self.last, 1e-4), *values]))
            except (mdnrnn.InputError, ValueError) as error:
                print(f"{address} {values}: {error}", file=sys.stderr)
                return
            self.last = self.heard = now
            self.called.set()
            self.send(self.player.predict().motion)

    def send(self, motion: np.ndarray) -> None:
        """The controls of a step (dt, x1, ...), within their range."""
        self.client.send_message("/prediction", np.clip(motion[1:], 0, 1).tolist())

    def answer(self) -> None:
        """Once someone has played, go on alone wherever nobody plays."""
        while not self.over.is_set():
            silent = time.monotonic() - self.heard
            if not self.called.is_set() or silent < SILENCE:
                self.over.wait(max(0.01, SILENCE - silent))
                continue
            with self.turn:
                step, due = self.player.predict(), self.last
            due += float(step.motion[0])
            self.over.wait(max(0.0, due - time.monotonic()))
            with self.turn:
                if self.heard > due - float(step.motion[0]) or self.over.is_set():
                    continue  # someone plays again: what was to come is not
                self.player.observe(step.motion)
                self.last = due
                self.send(step.motion)

    def run(self) -> None:
        """Serve until it is over, or interrupted."""
        workers = [threading.Thread(target=work) for work in (self.server.serve_forever, self.answer)]
        for worker in workers:
            worker.start()
        with contextlib.suppress(KeyboardInterrupt):
            self.over.wait()
        self.over.set()
        self.server.shutdown()
        for worker in workers:
            worker.join()
        self.server.server_close()
        self.client.close()


def main() -> None:
    """Load the run and serve."""
    if len(sys.argv) < 2:
        raise SystemExit("which run? python examples/osc_bridge.py RUN [PORT] [REPLY_PORT]")
    run, port, reply_port = sys.argv[1], int((*sys.argv[2:], "5000")[0]), int((*sys.argv[3:], "5001")[0])
    bridge = Bridge(mdnrnn.load(run), port, reply_port)
    print(f"hears /interface with {bridge.controls} values on port {port}, answers on port {reply_port}; Ctrl-C ends")
    bridge.run()


if __name__ == "__main__":
    main()
