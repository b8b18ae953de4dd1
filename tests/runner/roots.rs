//! Steps on roots of their own: folders, archives and image layouts, made by the tools that make them.

use std::path::Path;
use std::process::Command;

use crate::kiln::{Project, assert_none, skipped};

/// The program that is a whole system, where it is installed.
const BUSYBOX: &str = "/usr/bin/busybox";

/// Makes a root in which `sh`, `cat`, `ls` and `id` run, and whose `/etc/motd` has this text.
fn root(at: &Path, motd: &str) {
    std::fs::create_dir_all(at.join("bin")).unwrap();
    std::fs::create_dir_all(at.join("etc")).unwrap();
    std::fs::copy(BUSYBOX, at.join("bin/busybox")).unwrap();
    for name in ["sh", "cat", "ls", "id"] {
        std::os::unix::fs::symlink("busybox", at.join("bin").join(name)).unwrap();
    }
    std::fs::write(at.join("etc/motd"), format!("{motd}\n")).unwrap();
}

fn sh(project: &Project, line: &str) {
    let done = Command::new("sh").args(["-euc", line]).current_dir(project.path()).output();
    let done = done.unwrap();
    assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
}

fn has(programs: &[&str]) -> bool {
    let is_there = |program: &&str| {
        std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
            .any(|folder| folder.join(program).is_file())
    };
    let missing: Vec<_> = programs.iter().filter(|program| !is_there(program)).collect();
    if !missing.is_empty() {
        skipped(&format!("not installed: {missing:?}"));
    }
    missing.is_empty()
}

/// How the steps of a run ended: the words before their names.
fn run(project: &Project) -> Vec<String> {
    let done = project.kiln("run --ui plain").exits(0);
    let told = done.stderr();
    let steps = told.lines().filter(|line| line.contains(" test "));
    let mut steps: Vec<_> = steps
        .map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            format!("{} {}", words[words.len() - 1], words[0])
        })
        .collect();
    steps.sort();
    steps
}

#[test]
fn a_step_runs_on_a_folder_or_an_archive_and_sees_edits_of_both() {
    if !has(&["busybox", "tar", "gzip", "zstd"]) {
        return;
    }
    let project = Project::of(
        r#"
test folder {
  image = rootfs("root")
  run sh "cat /etc/motd; ls /bin; id -u; ! ls /usr"
}

test archive for (name in ["root.tar", "root.tar.gz", "root.tar.zst"]) {
  image = rootfs(name)
  in file("note") at "note"
  run sh "cat /etc/motd note; echo {{name}}"
}
"#,
    )
    .with("note", "a note\n");
    root(&project.at("root"), "one");
    sh(&project, "tar -cf root.tar -C root .; gzip -k root.tar; zstd -q root.tar");
    let all = |end: &str| {
        ["folder", "root.tar.gz]", "root.tar.zst]", "root.tar]"].map(|it| format!("{it} {end}"))
    };
    assert_eq!(run(&project), all("ran"));
    project
        .kiln("log folder")
        .exits(0)
        .says("one\nbusybox\ncat\nid\nls\nsh\n1000\nls: /usr: No such file or directory\n");
    assert_eq!(run(&project), all("cached"));
    std::fs::write(project.at("root/etc/motd"), "two\n").unwrap();
    assert_eq!(
        run(&project)[0],
        "folder ran",
        "an edit below a folder that itself stays as it was"
    );
    sh(&project, "tar -cf root.tar -C root .");
    let found = run(&project);
    assert_eq!((&*found[0], &*found[3]), ("folder cached", "root.tar] ran"));
    project.kiln("log").exits(0);
    let refused = "a root of its own in the weak sandbox";
    project.kiln("run folder --rerun folder --sandbox=weak").exits(4).tells(refused);
    std::fs::remove_dir_all(project.at("root/etc")).unwrap();
    project.kiln("run folder").exits(1).tells("can't open '/etc/motd'");
}

#[test]
fn a_step_runs_on_an_image_that_other_tools_made() {
    if !has(&["busybox", "umoci", "skopeo"]) {
        return;
    }
    let project = Project::of(
        r#"
test image for (path in ["layout", "layout.tar", "saved.tar"]) {
  image = oci(path)
  run sh "cat /etc/motd; ls /etc; echo {{path}}"
}
"#,
    );
    root(&project.at("root"), "first");
    // Two layers: the second adds, changes and removes.
    sh(
        &project,
        "umoci init --layout layout
         umoci new --image layout:box
         umoci insert --rootless --image layout:box root /
         mkdir upper && echo second > upper/motd && echo new > upper/added
         umoci insert --rootless --image layout:box upper/motd /etc/motd
         umoci insert --rootless --image layout:box upper/added /etc/added
         umoci config --image layout:box --os linux
         skopeo copy -q oci:layout:box oci-archive:layout.tar:box
         skopeo copy -q oci:layout:box docker-archive:saved.tar:box",
    );
    assert_eq!(run(&project), ["layout.tar] ran", "layout] ran", "saved.tar] ran"]);
    for path in ["layout", "layout.tar", "saved.tar"] {
        let name = format!("image[path: {path}]");
        let call = crate::kiln::Kiln::new(project.path()).arguments(["log", &name]);
        call.run().exits(0).says(&format!("second\nadded\nmotd\n{path}\n"));
    }
    assert_eq!(run(&project), ["layout.tar] cached", "layout] cached", "saved.tar] cached"]);
}

#[test]
fn a_root_that_is_none_is_told_with_its_file() {
    let mut problems = Vec::new();
    for (image, files, told) in [
        ("rootfs(\"a.tar\")", &[("a.tar", "no archive at all")][..], "`a.tar` is no tar archive"),
        ("oci(\"a\")", &[("a/x", "")], "it has neither `index.json` nor `manifest.json`"),
        ("oci(\"a\")", &[("a/index.json", "{")], "`a/index.json` cannot be understood"),
        ("oci(\"a\")", &[("a/index.json", "{\"manifests\": []}")], "its images name no platform"),
        (
            "oci(\"a\")",
            &[("a/index.json", "{\"manifests\": [{\"digest\": \"sha256:../../x\"}]}")],
            "which is no sha256 digest",
        ),
        ("rootfs(\"a.xz\")", &[("a.xz", "\u{fd}7zXZ\0")], "is no tar archive"),
        ("rootfs(\"/no/such/root\")", &[], "/no/such/root"),
    ] {
        let text = format!("test unit {{\n  image = {image}\n  run sh \"true\"\n}}\n");
        let mut project = Project::of(text);
        for (path, text) in files {
            project = project.with(path, text);
        }
        let done = project.kiln("run");
        let said = done.stderr();
        if done.code() != Some(1) || !said.contains(told) {
            problems.push(format!("{image}: {:?}, not {told}:\n{said}", done.code()));
        }
    }
    assert_none(&problems);
}

#[test]
fn a_root_is_kept_as_its_step_left_it() {
    if !has(&["busybox"]) {
        return;
    }
    let project = Project::of(
        r#"
build base {
  image = rootfs("root")
  run sh """
    id -u
    echo "$HOME $USER"
    echo changed >/etc/motd
    mkdir -p /opt/tool/bin /gone/new
    echo 'echo a tool' >/opt/tool/bin/tool
    chmod 755 /opt/tool/bin/tool
    ln -s /opt/tool/bin/tool /bin/tool
    rm /etc/old
    rm -r /etc/dir && mkdir /etc/dir && echo new >/etc/dir/new
    rm -r /gone
    chown 12:34 /etc/motd
    chown -h 65534 /bin/tool
    mknod /etc/device c 1 3
    echo temporary >/tmp/temporary
    echo left >left
    echo home >"$HOME/home"
    echo made >{{out.file}}
  """
  out root: image
  out file: file
}

build more {
  image = base.root
  run sh "tool; echo more >>/etc/motd"
  out root: image
}

test sees {
  image = more.root
  run sh """
    cat /etc/motd /etc/dir/* /root/home
    tool
    ls /etc /tmp /opt
    ! ls /gone 2>&1
    id -u
    ! echo no >/etc/motd
  """
}

test other {
  image = rootfs("root")
  run sh "cat /etc/motd; ls /etc /etc/dir"
}
"#,
    );
    root(&project.at("root"), "base");
    for path in ["old", "dir/old"] {
        std::fs::create_dir_all(project.at("root/etc/dir")).unwrap();
        std::fs::write(project.at(&format!("root/etc/{path}")), "").unwrap();
    }
    std::fs::create_dir(project.at("root/gone")).unwrap();
    let applets = ["mkdir", "chmod", "chown", "ln", "rm", "mknod"];
    for name in applets {
        std::os::unix::fs::symlink("busybox", project.at("root/bin").join(name)).unwrap();
    }
    assert_eq!(run(&project), ["other ran", "sees ran"]);
    project.kiln("log base").exits(0).says("0\n/root root\n");
    let seen = "changed\nmore\nnew\nhome\na tool\n/etc:\ndir\nmotd\n\n/opt:\ntool\n\n/tmp:\n\
                ls: /gone: No such file or directory\n1000\n\
                /build/.kiln/run/0: line 6: can't create /etc/motd: Read-only file system\n";
    let done = project.kiln("log sees").exits(0);
    assert_eq!(done.stdout(), seen);
    project.kiln("log other").exits(0).says("base\n/etc:\ndir\nmotd\nold\n\n/etc/dir:\nold\n");
    // An image is no file to look at: what stands in `out/` are the others.
    project.kiln("run base").exits(0);
    assert!(project.at("out/base/file").exists() && !project.at("out/base/root").exists());
    assert_eq!(run(&project), ["other cached", "sees cached"]);
    // What it is based on counts.
    std::fs::write(project.at("root/etc/dir/old"), "again").unwrap();
    assert_eq!(run(&project), ["other ran", "sees cached"], "the same root again");
    std::fs::write(project.at("root/etc/other"), "").unwrap();
    assert_eq!(run(&project), ["other ran", "sees ran"]);
}

#[test]
fn no_root_is_kept_of_a_step_that_failed_or_in_the_weak_sandbox() {
    if !has(&["busybox"]) {
        return;
    }
    let project = Project::of(
        r#"
build base {
  image = rootfs("root")
  run sh "echo broken >/etc/motd; exit 3"
  out root: image
}

test sees {
  image = base.root
  run sh "cat /etc/motd"
}
"#,
    );
    root(&project.at("root"), "base");
    let done = project.kiln("run").exits(1);
    assert!(done.stderr().contains("1 failed, 1 blocked"), "{}", done.stderr());
    project.kiln("run --sandbox=weak").exits(4).tells("a root of its own in the weak sandbox");
}

#[test]
fn packages_of_a_distribution_are_installed_in_a_root() {
    if !has(&["debootstrap", "tar"]) {
        return;
    }
    let project = Project::of(
        r#"
build packages {
  image   = rootfs("root.tar")
  network = "full"
  run sh """
    apt-get update
    apt-get install -y --no-install-recommends jq sudo
    useradd --create-home app
    chown -R app /home/app
    su app -c id
  """
  out root: image
}

test uses {
  image = packages.root
  run sh """
    echo '{"found": 3}' | jq .found
    cat /etc/sudoers.d/README | head -n 1
    grep -c app: /etc/passwd
    ls /home /etc/apt/apt.conf.d
  """
}
"#,
    );
    let made = Command::new("debootstrap")
        .args(["--variant=minbase", "bookworm", "root"])
        .current_dir(project.path())
        .output()
        .unwrap();
    if !made.status.success() {
        skipped("debootstrap makes no root here: it needs user 0 and a mirror of Debian");
        return;
    }
    sh(&project, "tar -cf root.tar -C root . && rm -r root");
    assert_eq!(run(&project), ["uses ran"]);
    // What apt was told about its user is not part of the root.
    let seen = "3\n#\n1\n/etc/apt/apt.conf.d:\n01autoremove\n70debconf\n\n/home:\napp\nbuild\n";
    project.kiln("log uses").exits(0).says(seen);
}
