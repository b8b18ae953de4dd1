//! The same step in two folders, by two users, at two times, from two environments has the same key and
//! makes the same.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use crate::faults::{Subject, as_ordinary_user, notices};
use crate::kiln::{by_way_of, step_end};

/// Writes down all that a step can easily tell of where, when and by whom it is run.
const PIPELINE: &str = r#"
build tells {
  in files("src/**")
  run sh """
    exec > {{out.told}}
    pwd; id; umask; hostname; env | sort; ulimit -a; locale 2>/dev/null
    find . ~ /tmp /build -not -path '*told*' | sort; ls -la /dev/ | cut -d' ' -f1
    stat -c '%n %a %u %g %Y %s' src/* src/deep/*
    cat /proc/self/cgroup /proc/sys/kernel/hostname /proc/self/limits /proc/cmdline /proc/uptime
    cat /proc/meminfo /proc/loadavg /proc/sys/kernel/random/boot_id
    echo /proc/[0-9]*; mkdir made; touch made/a; ln -s a made/b; stat -c '%n %a %u %g' made made/a
    python3 -c 'import os; print(os.getpid(), hex(id(os)), os.environ)' 2>/dev/null
    true
  """
  out told: file
}

build made {
  in files("src/**")
  run sh "cp -p src/a {{out.d}}/a; umask 0; echo x > {{out.d}}/x; chmod 4777 {{out.d}}/x; tar cf {{out.t}} src"
  out d: dir
  out t: file
}
"#;

/// The keys of the steps, and what they told and made.
type Results = (BTreeMap<String, String>, Vec<Vec<u8>>);

fn results(subject: &Subject, folder: &str, settings: &[(&str, &str)], mood: &str) -> Results {
    let above = tempfile::tempdir().unwrap();
    let open_to_all = |path: &Path| {
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o777)).unwrap();
    };
    open_to_all(above.path());
    let place = above.path().join(folder);
    std::fs::create_dir_all(place.join("src/deep")).unwrap();
    // The project's root, whatever stands above.
    std::fs::create_dir(place.join(".git")).unwrap();
    for path in ["src/a", "src/b", "src/deep/c"] {
        std::fs::write(place.join(path), path).unwrap();
    }
    std::fs::write(place.join("pipeline.pipe"), PIPELINE).unwrap();
    let store = above.path().join("store");
    let call = subject.kiln(&place).arguments(["run", "--ui", "jsonl", "--cache"]);
    let mut call = call.arguments([store.to_str().unwrap()]);
    for (name, value) in settings {
        call = call.env(name, value);
    }
    let script = format!("{mood}; exec \"$@\"");
    let done = by_way_of("sh", &["-c", &script, "sh"], &call.command()).output().unwrap();
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
    let text = String::from_utf8(done.stdout).unwrap();
    let events = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let ends = events.filter(|event| step_end(event).is_some());
    let key = |event: serde_json::Value| {
        let text = |name: &str| event[name].as_str().unwrap().to_owned();
        assert_eq!(event["outcome"], "ran");
        (text("step"), text("key"))
    };
    let keys = ends.map(key).collect();
    let paths = ["out/tells/told", "out/made/d/a", "out/made/d/x", "out/made/t"];
    let made = paths.map(|path| std::fs::read(place.join(path)).unwrap());
    (keys, made.to_vec())
}

fn told_apart(subject: &Subject) {
    let here = results(&Subject::real(), "one", &[("TZ", "UTC"), ("HOME", "/root")], "umask 022");
    std::thread::sleep(Duration::from_millis(1100));
    let settings = [
        ("TZ", "Pacific/Auckland"),
        ("HOME", "/nowhere"),
        ("LANG", "de_DE.UTF-8"),
        ("LC_ALL", "C.UTF-8"),
        ("TMPDIR", "/tmp"),
        ("USER", "somebody"),
        ("SOURCE_DATE_EPOCH", "1"),
        ("MAKEFLAGS", "-j9"),
    ];
    let there = results(
        subject,
        "quite/another/and a longer folder",
        &settings,
        "umask 077; ulimit -S -n 700; ulimit -S -s 4096",
    );
    assert_eq!(here.0, there.0, "the keys tell");
    for (here, there) in here.1.iter().zip(&there.1) {
        let [here, there] = [here, there].map(|bytes| String::from_utf8_lossy(bytes));
        let unlike = here.lines().zip(there.lines()).find(|(here, there)| here != there);
        assert!(here == there, "a step can tell where it is run: {unlike:?}");
    }
}

#[test]
fn folders_users_times_and_environments_are_all_one() {
    told_apart(&Subject::real());
    as_ordinary_user(told_apart);
}

#[test]
fn limits_that_show_are_noticed() {
    notices("OwnLimits", "a step can tell where it is run", told_apart);
}
