"""A run plays along over OSC: what a controller sends is observed, what the run makes of it is sent back.

    python examples/osc_bridge.py [RUN] [PORT] [REPLY_PORT]

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
from pythonosc.osc_server import ThreadingOSCUDPServer
from pythonosc.udp_client import SimpleUDPClient

import mdnrnn

SILENCE = 1.0
"""Seconds after which the call is over."""
LONGEST_WAIT = 2.0
"""Seconds between steps of the run's own at most, so that it stops in good time when someone plays again."""


class Bridge:
    """Between an interface and a performer; the clock is the interface's."""

    def __init__(self, run: mdnrnn.Run, port: int, reply_port: int) -> None:
        self.player, self.client = mdnrnn.Performer(run), SimpleUDPClient("127.0.0.1", reply_port)
        self.controls = run.config.shape.features - 1
        self.played = time.monotonic()
        dispatcher = Dispatcher()
        dispatcher.map("/interface", self.hear)
        self.server = ThreadingOSCUDPServer(("127.0.0.1", port), dispatcher)
        self.over = threading.Event()

    def hear(self, address: str, *values: float) -> None:
        """A step that was played: observe it, and say what may follow."""
        now = time.monotonic()
        wait, self.played = max(now - self.played, 1e-4), now
        try:
            self.player.observe(np.array([wait, *values]))
        except mdnrnn.InputError as error:
            print(f"{address}: {error}", file=sys.stderr)
            return
        self.send(self.player.predict().motion)

    def send(self, motion: np.ndarray) -> None:
        """The controls of a step (dt, x1, ...), within their range."""
        self.client.send_message("/prediction", np.clip(motion[1:], 0, 1).tolist())

    def answer(self) -> None:
        """Go on alone wherever nobody plays."""
        while not self.over.wait(0.01):
            if time.monotonic() - self.played < SILENCE:
                continue
            step = self.player.play()
            if not self.over.wait(min(step.motion[0], LONGEST_WAIT)) and time.monotonic() - self.played >= SILENCE:
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
    run, port, reply_port = sys.argv[1], int((*sys.argv[2:], "5000")[0]), int((*sys.argv[3:], "5001")[0])
    bridge = Bridge(mdnrnn.load(run), port, reply_port)
    print(f"hears /interface with {bridge.controls} values on port {port}, answers on port {reply_port}; Ctrl-C ends")
    bridge.run()


if __name__ == "__main__":
    main()
