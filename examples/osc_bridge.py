"""Let a trained run play along over OSC: it observes a controller's messages and sends predictions back.

    python examples/osc_bridge.py [RUN [PORT [REPLY_PORT]]]

RUN is a run folder trained on gesture streams: `mdnrnn train gesture --data LOG --out RUN`. The bridge receives
messages `/interface x1 x2 ...` on PORT (default 5000) and sends messages `/prediction x1 x2 ...` to REPLY_PORT (default
5001). While a person plays, it sends a prediction after each message. After one second of silence the run plays on its
own, with the predicted timing, until the person plays again. Requires python-osc: pip install python-osc.
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
"""Seconds without a message after which the run plays on its own."""
LONGEST_PAUSE = 60.0
"""Maximum number of seconds to wait for a predicted step."""


class Bridge:
    """Connects an OSC interface and a performer; one thread receives, another one plays, and a lock separates them."""

    def __init__(self, run: mdnrnn.Run, port: int, reply_port: int) -> None:
        if not run.config.metadata.is_stream:
            raise mdnrnn.InputError(
                f"{run.folder} was trained on {run.config.metadata.name}; expected a run of gesture streams"
            )
        self.player, self.client = mdnrnn.Performer(run), SimpleUDPClient("127.0.0.1", reply_port)
        self.controls = run.config.shape.features - 1
        self.lock, self.stopped, self.started = threading.Lock(), threading.Event(), threading.Event()
        self.last_step = self.last_message = time.monotonic()
        """Times of the last step by anyone and of the last message."""
        dispatcher = Dispatcher()
        dispatcher.map("/interface", self.receive)
        self.server = BlockingOSCUDPServer(("127.0.0.1", port), dispatcher)  # handles one message at a time

    def receive(self, address: str, *values: float) -> None:
        """Observe a step that a person played and send a prediction."""
        with self.lock:
            now = time.monotonic()
            dt = max(now - self.last_step, 1e-4) if self.started.is_set() else 0.0
            try:
                self.player.observe(np.array([dt, *values]))
            except (mdnrnn.InputError, ValueError) as error:
                print(f"{address} {values}: {error}", file=sys.stderr)
                return
            self.last_step = self.last_message = now
            self.started.set()
            self.send(self.player.predict().motion)

    def send(self, motion: np.ndarray) -> None:
        """Send the controls of a step (dt, x1, ...), clipped to 0..1."""
        self.client.send_message("/prediction", np.clip(motion[1:], 0, 1).tolist())

    def play(self) -> None:
        """Play whenever the person has been silent for `SILENCE` seconds; wait for a first message."""
        while not self.stopped.is_set():
            silent = time.monotonic() - self.last_message
            if not self.started.is_set() or silent < SILENCE:
                self.stopped.wait(max(0.01, SILENCE - silent))
                continue
            with self.lock:
                if self.last_step == self.last_message:  # it takes over: the silence is not part of its rhythm
                    self.last_step = time.monotonic()
                step, due = self.player.predict(), self.last_step
            start, due = due, due + min(float(step.motion[0]), LONGEST_PAUSE)
            self.stopped.wait(max(0.0, due - time.monotonic()))
            with self.lock:
                if self.last_message > start or self.stopped.is_set():
                    continue  # a message arrived: drop the prediction
                try:
                    self.player.observe(step.motion)
                except mdnrnn.InputError as error:
                    print(f"prediction {step.motion.tolist()}: {error}; starting again", file=sys.stderr)
                    self.player.reset()
                    self.started.clear()  # wait for the next message
                    continue
                self.last_step = due
                self.send(step.motion)

    def run(self) -> None:
        """Serve until stopped or interrupted."""
        threads = [threading.Thread(target=target) for target in (self.server.serve_forever, self.play)]
        for thread in threads:
            thread.start()
        with contextlib.suppress(KeyboardInterrupt):
            self.stopped.wait()
        self.stopped.set()
        self.server.shutdown()
        for thread in threads:
            thread.join()
        self.server.server_close()
        self.client.close()


def main() -> None:
    """Load the run and serve."""
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        raise SystemExit("usage: python examples/osc_bridge.py RUN [PORT] [REPLY_PORT]")
    run, port, reply_port = sys.argv[1], int((*sys.argv[2:], "5000")[0]), int((*sys.argv[3:], "5001")[0])
    try:
        bridge = Bridge(mdnrnn.load(run), port, reply_port)
    except (mdnrnn.InputError, OSError) as error:
        raise SystemExit(f"error: {error}") from error
    print(f"receiving /interface ({bridge.controls} values) on port {port}, sending to {reply_port}; Ctrl-C stops")
    bridge.run()


if __name__ == "__main__":
    main()
