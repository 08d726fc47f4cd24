"""The server's answers and refusals, by real processes."""

import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

POST = ("draw?alphabet=digits", "photo", "corrections", "training", "training/stop")
ENDS = {"verdict", "stopped", "failed"}


def serve(*arguments, **environment):
    """Run the program to its end; return status and messages."""
    done = subprocess.run(
        [sys.executable, "-m", "manyhands", "serve", *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


def raw(server, method, path, headers, body=b""):
    """Send a request with exactly these headers; return the status."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders(body)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


class TestStart:
    @pytest.mark.parametrize("port", ["-1", "65536", "http", "1e3", ""])
    def test_no_port(self, port):
        status, said = serve(f"--port={port}")
        assert status == 2
        assert "a port is a number from 0 to 65535" in said

    def test_a_port_that_is_taken(self):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            status, said = serve("--port", other.getsockname()[1])
        assert status == 1
        assert "is in use by another program" in said
        assert "Traceback" not in said

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
    def test_a_network_needs_permission(self, host):
        status, said = serve("--port=0", "--host", host)
        assert status == 2
        assert "--allow-network" in said

    def test_a_name_needs_a_network(self):
        status, said = serve("--port=0", "--allowed-host", "example.org")
        assert status == 2
        assert "--allowed-host" in said

    def test_a_folder_that_cannot_be_made(self, tmp_path):
        (tmp_path / "file").write_text("")
        status, said = serve("--port=0", "--save-corrections", tmp_path / "file")
        assert status == 1
        assert "it is a file" in said

    def test_missing_packages_are_named(self, tmp_path):
        code = (
            "import importlib.util as u, sys\nfound = u.find_spec\n"
            "u.find_spec = lambda name, *rest: None if name == 'uvicorn' else found(name, *rest)\n"
            "from manyhands.cli import main\nsys.exit(main(['serve']))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 2
        assert "pip install starlette uvicorn pillow" in done.stderr


class TestEnd:
    @pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_a_signal_ends_it_at_once_with_browsers_connected(self, serving, training, number, status):
        with serving() as server:
            server.post("api/training", {**training, "epochs": 200, "hidden": "512", "batch": 50, "seeds": 5})
            with httpx.stream("GET", f"{server.url}api/training/events", timeout=30) as stream:
                next(stream.iter_lines())
                ended, messages, seconds = server.end(number)
        assert ended == status
        assert "Traceback" not in messages
        assert "Exception" not in messages
        assert seconds < 3

    @pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs Linux")  # noqa: PTH112
    def test_the_training_ends_with_a_server_that_is_killed(self, serving, training):
        with serving() as server:
            server.post("api/training", {**training, "epochs": 200, "hidden": "512", "batch": 50, "seeds": 5})
            server.events({"run"})
            (child,) = children(server.process.pid)
            os.kill(server.process.pid, signal.SIGKILL)
            deadline = time.monotonic() + 5
            while is_running(child) and time.monotonic() < deadline:
                time.sleep(0.05)
            assert not is_running(child)


def children(pid):
    text = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False).stdout
    return [int(each) for each in text.split()]


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class TestPage:
    @pytest.mark.parametrize("path", ["", "style.css", "main.js", "draw.js", "train.js", "icon.svg"])
    def test_files(self, server, path):
        answer = server.get(path)
        assert answer.status_code == 200
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy

    def test_nothing_is_inline_and_nothing_comes_from_elsewhere(self, server):
        page = server.get("").text
        assert "<style" not in page
        assert " style=" not in page
        assert " onclick" not in page
        assert "http" not in page
        assert page.count("<script") == page.count('<script type="module" src="/main.js">') == 1

    @pytest.mark.parametrize(
        "path", ["/etc/passwd", "/../app.py", "/static/index.html", "/%2e%2e/app.py", "/__init__.py"]
    )
    def test_no_other_file(self, server, path):
        assert raw(server, "GET", path, {"Host": f"127.0.0.1:{server.port}"}) == 404

    def test_setup(self, server):
        found = server.get("api/setup").json()
        assert found["corrections"] is True
        assert "digits" in [offer["value"] for offer in found["training"]["data"]]


class TestGuard:
    @pytest.mark.parametrize(
        "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "192.0.2.1", "localhost.evil"]
    )
    def test_other_names_are_not_answered(self, server, host):
        assert raw(server, "GET", "/api/setup", {"Host": host}) == 421

    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
    def test_own_names_are(self, server, host):
        assert raw(server, "GET", "/api/setup", {"Host": f"{host}:{server.port}"}) == 200

    @pytest.mark.parametrize("path", POST)
    @pytest.mark.parametrize("origin", [None, "null", "http://evil.example", "http://127.0.0.1:1"])
    def test_posts_of_other_sites_are_refused(self, server, path, origin):
        headers = {} if origin is None else {"Origin": origin}
        assert httpx.post(f"{server.url}api/{path}", content=b"{}", headers=headers).status_code == 403

    def test_reading_from_other_sites_is_refused(self, server):
        assert server.get("api/training/events", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403

    @pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "TRACE"])
    def test_other_methods_are_refused(self, server, method):
        assert httpx.request(method, f"{server.url}api/training").status_code == 405

    def test_a_network_is_answered_by_address_and_by_the_names_that_were_given(self, serving):
        with serving("--allow-network", "--host", "0.0.0.0", "--allowed-host", "desk.example") as server:
            for host, status in (("192.0.2.1:80", 200), ("desk.example", 200), ("evil.example", 421)):
                assert raw(server, "GET", "/api/setup", {"Host": host}) == status
            _, messages, _ = server.end()
        assert "every computer that reaches this one" in messages


class TestBodies:
    @pytest.mark.parametrize(
        ("path", "most"), [("draw?alphabet=digits", 12_544), ("photo", 20_000_000), ("training", 64_000)]
    )
    def test_too_large_by_its_header(self, server, path, most):
        headers = {"Host": f"127.0.0.1:{server.port}", "Content-Length": str(most + 1), **server.origin}
        assert raw(server, "POST", f"/api/{path}", headers) == 413

    def test_too_large_in_chunks(self, server):
        def chunks():
            for _ in range(100):
                yield b"x" * 10_000

        answer = httpx.post(f"{server.url}api/training", content=chunks(), headers=server.origin)
        assert answer.status_code == 413
        assert "at most 64.0 KB" in answer.json()["error"]

    @pytest.mark.parametrize("path", ["draw?alphabet=digits", "photo", "training"])
    def test_empty(self, server, path):
        assert server.post(f"api/{path}").status_code == 400

    @pytest.mark.parametrize("body", [b"{", b"[]", b"1", b"\xff", b"[" * 60_000])
    def test_no_json_object(self, server, body):
        answer = server.post("api/training", body)
        assert (answer.status_code, answer.json()) == (400, {"error": "the body is no JSON object"})


class TestDrawing:
    def test_it_is_read(self, server):
        answer = server.post("api/draw?alphabet=digits", seven())
        found = answer.json()
        assert answer.status_code == 200
        assert found["candidates"][0][0] == "7"
        assert len(found["candidates"]) == 10
        assert sum(share for _, share in found["candidates"]) == pytest.approx(1, abs=1e-3)
        assert [len(row) for row in found["image"]] == [28] * 28

    def test_nothing_drawn_is_no_failure(self, server):
        answer = server.post("api/draw?alphabet=digits", bytes(112 * 112))
        assert (answer.status_code, answer.json()["candidates"]) == (200, [])

    @pytest.mark.parametrize(("query", "size"), [("digits", 100), ("runes", 112 * 112), ("", 112 * 112)])
    def test_what_cannot_be_read_is_said(self, server, query, size):
        assert server.post(f"api/draw?alphabet={query}", bytes(size)).status_code == 400


def seven():
    """The ink of a 7, as a page sends it."""
    from PIL import Image, ImageDraw

    ink = Image.new("L", (112, 112))
    ImageDraw.Draw(ink).line([(32, 26), (78, 26), (52, 90)], fill=255, width=9, joint="curve")
    return ink.tobytes()


class TestPhotographs:
    def test_what_is_no_picture_is_said(self, server):
        answer = server.post("api/photo", b"no picture at all")
        assert answer.status_code == 400
        assert "no picture" in answer.json()["error"]

    def test_one_is_read(self, server, data_folder):
        path = data_folder / "photos" / "exam-boxes.png"
        found = server.post("api/photo?alphabet=digits", path.read_bytes()).json()
        assert "0123456789" in found["text"].replace(" ", "")
        assert found["picture"].startswith("data:image/jpeg;base64,")
        assert found["key"]

    @pytest.mark.slow
    def test_too_many_at_once_are_refused(self, server, data_folder):
        body = (data_folder / "photos" / "exam-boxes.png").read_bytes()
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: server.post("api/photo", body).status_code, range(8)))
        assert set(found) == {200, 429}

    def test_unknown_pages_have_no_corrections(self, server):
        answer = server.post("api/corrections", {"key": "made-up", "labels": {"0": "1"}})
        assert answer.status_code == 400
        assert "too long ago" in answer.json()["error"]

    def test_a_server_without_a_folder_stores_nothing(self, serving):
        with serving() as other:
            assert other.get("api/setup").json()["corrections"] is False
            assert other.post("api/corrections", {"key": "x", "labels": {"0": "1"}}).status_code == 403


class TestTraining:
    def test_from_its_start_to_the_verdict(self, server, training):
        assert server.post("api/training", training).status_code == 202
        found = [event for _, event in server.events(ENDS)]
        kinds = [event["kind"] for event in found]
        assert kinds[:2] == ["hello", "begin"]
        assert kinds.count("ended") == kinds.count("curve") == 1 + (training["workers"] > 1)
        assert "on 360 test samples" in found[-1]["text"]
        assert "no proof" in found[-1]["notes"][0] or training["workers"] == 1
        first = [event for event in found if event["kind"] == "tick" and event["run"] == 0]
        assert {loss[0] for event in first for loss in event["losses"]} == set(range(training["workers"]))
        assert len([loss for event in first for loss in event["losses"]]) == 30 * training["workers"]
        curve = next(event for event in found if event["kind"] == "curve")
        assert [point[0] for point in curve["points"]] == list(range(1, 31))

    def test_what_every_worker_has_measured_fits_its_time(self, server, training):
        server.post("api/training", {**training, "epochs": 200})
        lanes = [lane for _, event in server.events(ENDS) if event["kind"] == "tick" for lane in event["lanes"]]
        assert lanes
        for _, end, compute, wait, merge in lanes:
            assert compute > 0
            assert compute + wait + merge <= 1.05 * end + 0.005

    def test_late_comers_and_those_who_come_back_get_the_rest(self, server, training):
        server.post("api/training", training)
        whole = server.events(ENDS)
        assert server.events(ENDS) == whole
        number, _ = whole[3]
        assert server.events(ENDS, after=number) == [whole[0], *whole[4:]]
        for strange in ("0000-1", "", "x", "-", f"{number}x", "9" * 400):
            assert server.events(ENDS, after=strange) == whole

    def test_several_seeds_are_compared_in_pairs(self, server, training):
        server.post("api/training", {**training, "seeds": 3, "epochs": 10})
        found = [event for _, event in server.events(ENDS)]
        (ready,) = [event for event in found if event["kind"] == "ready"]
        if training["workers"] > 1:
            assert [part["seed"] for part in ready["parts"]] == [0, 0, 1, 1, 2, 2]
            assert [part["workers"] for part in ready["parts"]] == [2, 1, 1, 2, 2, 1]
        assert "3 seeds" in found[-1]["text"]

    def test_one_at_a_time_and_stopped_within_a_second(self, server, training):
        server.post("api/training", {**training, "epochs": 200, "hidden": "512", "batch": 50, "seeds": 5})
        server.events({"run"})
        again = server.post("api/training", training)
        assert again.status_code == 409
        assert "going on" in again.json()["error"]
        began = time.monotonic()
        assert server.post("api/training/stop").status_code == 200
        assert time.monotonic() - began < 1.5
        assert server.events(ENDS)[-1][1]["kind"] == "stopped"
        server.post("api/training", {**training, "epochs": 10})
        assert server.events(ENDS)[-1][1]["kind"] == "verdict"

    def test_stopping_nothing_is_no_failure(self, server):
        assert server.post("api/training/stop").status_code == 200

    @pytest.mark.parametrize(
        "wrong",
        [
            {"data": "/etc/passwd"}, {"data": "cifar10"}, {"data": ["digits"]}, {"workers": 0}, {"workers": 10**6},
            {"workers": True}, {"workers": "2"}, {"epochs": 10**9}, {"epochs": 10.0}, {"strategy": "periodic:1"},
            {"hidden": "9999"}, {"sequential": 1}, {"sequential": None}, {"more": 1}, {"seeds": -1},
        ],
    )  # fmt: skip
    def test_what_is_not_offered_is_refused(self, server, training, wrong):
        answer = server.post("api/training", {**training, **wrong})
        assert answer.status_code == 400
        assert "offer" in answer.json()["error"]

    def test_data_of_the_operator(self, serving, training, tmp_path):
        rows = "".join(f"{number % 3},{number % 3},{number % 7}\n" for number in range(300))
        (tmp_path / "own.csv").write_text(f"label,a,b\n{rows}")
        with serving("--data", tmp_path / "own.csv") as server:
            offers = {offer["text"]: offer["value"] for offer in server.get("api/setup").json()["training"]["data"]}
            server.post("api/training", {**training, "data": offers["own.csv"], "epochs": 10})
            assert server.events(ENDS)[-1][1]["kind"] == "verdict"

    def test_data_that_are_not_there_are_a_failure_in_words(self, serving, training, tmp_path):
        with serving("--data", tmp_path / "none") as server:
            server.post("api/training", {**training, "data": "given-0"})
            assert "no data set" in server.events(ENDS)[-1][1]["text"]

    def test_a_process_that_dies_is_a_failure_and_the_next_training_has_a_new_one(self, serving, training):
        with serving() as server:
            server.post("api/training", {**training, "epochs": 200, "hidden": "512", "batch": 50, "seeds": 5})
            server.events({"run"})
            os.kill(children(server.process.pid)[0], signal.SIGKILL)
            assert "ended early" in server.events(ENDS)[-1][1]["text"]
            server.post("api/training", {**training, "epochs": 10})
            assert server.events(ENDS)[-1][1]["kind"] == "verdict"


def test_help_imports_no_server():
    code = (
        "import json, sys\nfrom manyhands.cli import main\ntry: main(['serve', '--help'])\nexcept SystemExit: pass\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = json.loads(done.stdout.splitlines()[-1])
    assert {"starlette", "uvicorn", "numpy", "PIL"} & set(modules) == set()


def test_pictures_of_a_page_are_not_larger_than_a_screen():
    import base64

    import numpy as np
    from PIL import Image

    from manyhands.web.photos import as_url

    url = as_url(np.zeros((4000, 3000, 3), np.uint8))
    picture = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
    assert picture.size == (1200, 1600)
