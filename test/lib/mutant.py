"""What test/mutants/run and its tables share: a mutant is a protection that is taken away, by replacing a text of the sources, and
what must notice it."""
import dataclasses
import functools
import os
import pathlib
import re
import shutil
import subprocess
import sys

SEEDS = ["agent", "common", "fusefs", "include", "parts.a", "secretlet", "apiserver", "test/lib", "test/apiserver", "test/sandbox",
         "test/tools", "test/preload"]
TABLE = "test/sandbox/table.c"


@dataclasses.dataclass
class Mutant:
    """paths: of several files each has the text; it is in each of them once."""
    name: str
    paths: str
    old: str
    new: str
    noticed_by: list

    def changed(self, root):
        """path -> what the file is to be; a ValueError says what is not as it was."""
        texts = {}
        for path in self.paths.split():
            file = root / path
            text = file.read_text() if file.exists() else ""
            if text.count(self.old) != 1:
                raise ValueError(f"{path}: its text is there {text.count(self.old)} times")
            texts[file] = text.replace(self.old, self.new)
        return texts


@dataclasses.dataclass
class Test:
    """A program of test/run's. `cases`: those that fail, and no others. `attempts`: of test_sandbox's table those that fail, and no
    others; None: whichever."""
    program: str
    cases: list
    attempts: str = None
    environment: dict = dataclasses.field(default_factory=dict)

    def __str__(self):
        return self.program

    def targets(self):
        return ["build/secretlet"] if self.program.endswith(".sh") else [f"build/test/{self.folder()}/{self.program}"]

    def needs(self):
        return self.targets() + (["build/apiserver", "tools"] if self.program.endswith(".sh") else [])

    def folder(self, root=None):
        root = root or pathlib.Path(__file__).resolve().parent.parent.parent
        return "unit" if (root / "test/unit" / f"{self.program}.c").exists() else "integration"

    def problems(self, root):
        """What is not there of what it names."""
        script = self.program.endswith(".sh")
        source = root / "test" / self.folder(root) / (self.program if script else self.program + ".c")
        if not source.exists():
            return [f"{self.program} is not there"]
        text = source.read_text()
        if script:
            return [f"{self.program} has no case: {case}" for case in self.cases if not is_case(case, text)]
        names, tried = names_in(text), tried_in((root / TABLE).read_text())
        return ([f"{self.program} has no case {case}" for case in self.cases if case not in names] +
                [f"{self.program} has no attempt {name}" for name in (self.attempts or "").split()
                 if name not in tried])

    def look(self, tree, folder):
        """(whether it has noticed, as said; lines that say what it has seen)."""
        done = subprocess.run([tree / "test/run", "--build", tree / "build", "--only",
                               f"{self.folder(tree)}/{self.program}", self.folder(tree)], check=False, cwd=tree,
                              env=os.environ | self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        text = done.stdout.decode(errors="replace")
        failed = set(re.findall(r"^ +> not ok \d+ - (.*)$", text, re.M))
        attempts = set(re.findall(r"((?:try|do)_\w+) as role \d+: ", text))
        lines = sorted(failed) + ([" ".join(sorted(attempts))] if attempts else [])
        as_said = (failed == set(self.cases) and (done.returncode == 0) == (not failed) and
                   (self.attempts is None or attempts == set(self.attempts.split())))
        if not failed and not as_said:
            lines += text.splitlines()[-5:]
        if not as_said and self.cases:
            lines += [f"it should have been: {'; '.join(self.cases)}" + (f": {self.attempts}" if self.attempts else "")]
        return as_said, lines

    @staticmethod
    def unchanged(tests):
        """What has to pass before anything is changed."""
        return [Test(program, [], "", environment) for program, environment in {t.program: t.environment for t in tests}.items()]


def is_case(case, script):
    """Whether a script's text can make a result of this name."""
    if any(pattern.fullmatch(case) for pattern in patterns(script)):
        return True
    # judge "$w" WHAT
    where, _, what = case.rpartition(": ")
    return f'judge "$w" {what} ' in script and any(pattern.fullmatch(where) for pattern in patterns(script))


@functools.cache
def patterns(script):
    """Of the names of results, and of what `judge` puts in front of them."""
    found = []
    for name in set(re.findall(r'(?:\bw=|\b(?:check|check_equal|check_contains|tap_result ok|tap_result "not ok") +)"((?:[^"\\]|\\.)+)"', script)):
        parts = re.split(r"\$\w+|\$\{[^}]*\}|\$\([^)]*\)", name)
        if sum(len(part) for part in parts) >= 6:
            found.append(re.compile(".*".join(re.escape(part) for part in parts)))
    return found


@functools.cache
def names_in(program):
    return set(re.findall(r"\bcmocka_unit_test\w*\(\s*(\w+)", program))


@functools.cache
def tried_in(table):
    return set(re.findall(r"^\tTRY\(\w+, (\w+),", table, re.M))


class Tree:
    """A copy of the sources, and of what has been built of them, so that each mutant takes what has changed."""

    def __init__(self, root, built, folder):
        self.path = folder / "tree"
        shutil.copytree(root, self.path, symlinks=True,
                        ignore=lambda where, names: [".git", "build"] if pathlib.Path(where) == root else ["__pycache__"])
        if built.resolve().parent == root:
            for seed in SEEDS + [str(p.relative_to(built)) for p in built.glob("test/integration/test_[psv]*")]:
                self.seed(built / seed, self.path / "build" / seed)

    def seed(self, source, to):
        to.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, to, symlinks=True)
        elif source.exists():
            shutil.copy2(source, to)

    def make(self, targets):
        made = subprocess.run(["make", "-s", f"-j{os.cpu_count()}", *sorted(set(targets))], cwd=self.path, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if made.returncode != 0:
            sys.stdout.write(made.stdout.decode(errors="replace"))
        return made.returncode == 0

    def write(self, texts):
        for path, text in texts.items():
            path.write_text(text)
            if path.name == "Makefile": # on which nothing depends
                (self.path / "build/secretlet").unlink(missing_ok=True)

    def notices(self, mutant, folder):
        """"noticed", or what it was instead; with lines that say more."""
        try:
            texts = mutant.changed(self.path)
        except ValueError as e:
            return "NOT THERE", [str(e)]
        before = {path: path.read_text() for path in texts}
        self.write(texts)
        try:
            if not self.make([target for test in mutant.noticed_by for target in test.targets()]):
                return "NOT BUILT", []
            lines, as_said = [], True
            for test in mutant.noticed_by:
                good, seen = test.look(self.path, folder)
                as_said = as_said and good
                lines += [f"{test}: {line}" for line in seen] or [f"{test}: passed"]
            return "noticed" if as_said else "NOT AS SAID", lines
        finally:
            self.write(before)
