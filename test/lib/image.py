#!/usr/bin/env python3
"""What the last stage of a Containerfile makes, without a registry: out of Debian's packages as they are installed here.

    image.py packages STAGE CONTAINERFILE          the packages that a stage (build, or last) installs, one a line
    image.py needed BINARY SOURCE...               those that a binary needs: linked, or named in the sources for dlopen(3)
    image.py rootfs CONTAINERFILE BINARY DIR       the root folder: the packages with all that they depend on, of Debian's essential
                                                   ones a shell and its tools, the stage's own steps, and the binary"""
import glob
import os
import re
import shutil
import subprocess
import sys

# nothing depends on them, since they are always there
ESSENTIAL = ["coreutils", "dash"]
# what nothing reads that runs
LEFT_OUT = re.compile(r"/usr/share/(doc|man|locale|info|lintian|bug)/")


def output(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout


def stage(path, which):
    """Its RUN lines, each as one."""
    with open(path, encoding="utf-8") as f:
        lines = "".join(line for line in f if not line.startswith("#")).replace("\\\n", " ").splitlines()
    begins = [i for i, line in enumerate(lines) if line.startswith("FROM ")]
    begin = next(i for i in begins if lines[i].endswith(" AS " + which)) if which != "last" else begins[-1]
    end = next((i for i in begins if i > begin), len(lines))
    return [line for line in lines[begin:end] if line.startswith("RUN ")]


def steps(path, which):
    for line in stage(path, which):
        yield from (step.split() for step in line.removeprefix("RUN ").split("&&"))


def packages(path, which):
    for words in steps(path, which):
        if "install" in words:
            yield from (w for w in words[words.index("install") + 1:] if not w.startswith("-"))


def packages_of(files):
    # with /usr merged a package may have it as /lib/...
    names = [n for f in files for n in {f, f.removeprefix("/usr")}]
    found = subprocess.run(["dpkg", "-S"] + names, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False, text=True)
    owners = {line.split(": ")[1].removeprefix("/usr"): line.split(":")[0] for line in found.stdout.splitlines()}
    for f in files:
        if f.removeprefix("/usr") not in owners:
            sys.exit(f"image.py: {f} is of no package")
    return set(owners.values())


def needed(binary, sources):
    names = set(re.findall(r"\(NEEDED\).*\[(.*)\]", output("readelf", "-dW", binary)))
    for path in sources:
        with open(path, encoding="utf-8") as f:
            names |= set(re.findall(r'\.name = "(lib[^"]*\.so\.\d+)"', f.read()))
    # of several the first is this machine's own
    where = dict(reversed(re.findall(r"^\s+(\S+) \(.*\) => (\S+)", output("/sbin/ldconfig", "-p"), re.M)))
    return packages_of([os.path.realpath(where[n]) for n in names])


def closure(wanted):
    """These packages and what they depend on; also names that packages provide, which have no files."""
    known = {}
    form = "${Package}\t${db:Status-Abbrev}\t${Depends}, ${Pre-Depends}\t${Provides}\n"
    for line in output("dpkg-query", "-W", "-f", form).splitlines():
        name, status, depends, provides = line.split("\t")
        if status.startswith("ii"):
            known[name] = depends
            for p in filter(None, provides.split(",")):
                known.setdefault(p.split()[0], name)
    found, todo = set(), list(wanted)
    while todo:
        name = todo.pop()
        if name in found:
            continue
        if name not in known:
            sys.exit(f"image.py: package {name} is not installed here")
        found.add(name)
        for alternatives in filter(str.strip, known[name].split(",")):
            choices = [c.split()[0].split(":")[0] for c in alternatives.split("|")]
            todo += [next((c for c in choices if c in known), choices[0])]
    return found


def package_list(package):
    for path in glob.glob(f"/var/lib/dpkg/info/{package}.list") + glob.glob(f"/var/lib/dpkg/info/{package}:*.list"):
        with open(path, encoding="utf-8") as f:
            return [line for line in f.read().splitlines() if line != "/."]
    return []


def copy(file, root):
    folder = os.path.realpath(os.path.dirname(file))
    target = root + os.path.join(folder, os.path.basename(file))
    source = os.path.join(folder, os.path.basename(file))
    if LEFT_OUT.match(source) or os.path.lexists(target) or not os.path.lexists(source):
        return
    if os.path.islink(source):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.symlink(os.readlink(source), target)
    elif os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    elif os.path.isfile(source):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy2(source, target)


def rootfs(containerfile, binary, root):
    for name in ("bin", "sbin", "lib", "lib64"):
        if os.path.islink("/" + name):
            os.makedirs(f"{root}/usr/{name}", exist_ok=True)
            os.symlink("usr/" + name, f"{root}/{name}")
    for name in ("dev", "proc", "sys", "tmp", "etc", "var", "run"):
        os.makedirs(f"{root}/{name}", exist_ok=True)
    if not os.path.lexists(f"{root}/var/run"):
        os.symlink("/run", f"{root}/var/run")
    for package in sorted(closure([*packages(containerfile, "last"), *ESSENTIAL])):
        for file in package_list(package):
            copy(file, root)
    for name in ("passwd", "group"):
        with open(f"{root}/etc/{name}", "w", encoding="utf-8") as f:
            f.write("root:x:0:0:root:/root:/bin/sh\n" if name == "passwd" else "root:x:0:\n")
    subprocess.run(["/sbin/ldconfig", "-r", root], check=True)
    for words in steps(containerfile, "last"):
        if words[0] == "useradd":
            subprocess.run(["/usr/sbin/useradd", "--prefix", root] + words[1:], check=True)
        elif words[0] == "mkdir":
            subprocess.run([w if w[0] != "/" else root + w for w in words], check=True)
        elif words[0] not in ("apt-get", "DEBIAN_FRONTEND=noninteractive", "rm"):
            sys.exit(f"image.py: what does {words[0]} do?")
    shutil.copy2(binary, f"{root}/usr/bin/secretlet")


def main():
    command, args = sys.argv[1], sys.argv[2:]
    if command == "packages":
        print("\n".join(sorted(packages(args[1], args[0]))))
    elif command == "needed":
        print("\n".join(sorted(needed(args[0], args[1:]))))
    elif command == "rootfs":
        rootfs(*args)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
