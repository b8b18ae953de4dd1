//! Reach: what a failed step seems to have missed for want of a network. Knows how programs say
//! that they found no host; does not know whether they failed for that.

use crate::plan::step::Network;

/// How programs say that there is no network, in small letters.
const COMPLAINTS: [&str; 10] = [
    "could not resolve host",
    "couldn't resolve host",
    "unable to resolve host",
    "temporary failure in name resolution",
    "temporary failure resolving",
    "name or service not known",
    "failed to lookup address",
    "network is unreachable",
    "eai_again",
    "no such host",
];

/// What stands before the name of a host, in small letters, the surest first.
const BEFORE_HOSTS: [&str; 11] = [
    "resolve host: ",
    "resolve hostname ",
    "resolve host address ",
    "failure resolving ",
    "eai_again ",
    "lookup ",
    "dial tcp ",
    "connecting to ",
    "connect to ",
    "/dev/tcp/",
    "://",
];

/// What stands behind the name of a host, in small letters.
const AFTER_HOSTS: [&str; 2] =
    [": temporary failure in name resolution", ": name or service not known"];

/// Returns what to do about a step without the network that failed and said this at its end; `None`
/// if it said nothing of a network.
pub(super) fn help(network: Network, said: &str) -> Option<String> {
    let has = match network {
        Network::None => "no network",
        Network::Loopback => "no network but a loopback of its own",
        Network::Full => return None,
    };
    let lines = said.lines().rev().map(str::to_ascii_lowercase);
    let mut complaints =
        lines.filter(|line| COMPLAINTS.iter().any(|complaint| line.contains(complaint)));
    let first = complaints.next()?;
    let host = host(&first).or_else(|| complaints.find_map(|line| host(&line)));
    let what = host.map_or("seems to want one".to_owned(), |host| format!("wants `{host}`"));
    Some(format!("the step has {has} and {what}: if it must, give the stage `network = \"full\"`"))
}

/// Returns the host that a complaint names.
fn host(line: &str) -> Option<String> {
    let after = BEFORE_HOSTS.iter().filter_map(|before| Some(line.split_once(before)?.1));
    let before =
        AFTER_HOSTS.iter().filter_map(|after| line.split_once(after)?.0.rsplit(' ').next());
    after.chain(before).find_map(|after| {
        let after = after.trim_start_matches(['\'', '"', '`', '‘', '[', '(']);
        let is_part = |char: char| char.is_ascii_alphanumeric() || ".-:".contains(char);
        let end = after.find(|char| !is_part(char)).unwrap_or(after.len());
        let name = after[..end].trim_end_matches([':', '.', '-']);
        // A port is no part of the name, the colons of an address are.
        let name = match name.split_once(':') {
            Some((name, port)) if !port.contains(':') => name,
            _ => name,
        };
        let is_host = name.contains(['.', ':']) || name == "localhost";
        is_host.then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_named_as_programs_name_it() {
        for (said, expected) in [
            ("curl: (6) Could not resolve host: example.com\n", "example.com"),
            ("fatal: unable to access 'https://x.org/': Could not resolve host: x.org", "x.org"),
            (
                "ssh: Could not resolve hostname x.org: Temporary failure in name resolution",
                "x.org",
            ),
            ("wget: unable to resolve host address ‘x.org’", "x.org"),
            ("Err:1 http://deb.x.org a\n  Temporary failure resolving 'deb.x.org'", "deb.x.org"),
            ("npm ERR! getaddrinfo EAI_AGAIN registry.x.org", "registry.x.org"),
            ("dial tcp: lookup proxy.x.org: no such host\nexit 1", "proxy.x.org"),
            ("bash: line 1: x.org: Temporary failure in name resolution", "x.org"),
            ("bash: line 1: /dev/tcp/192.0.2.1/80: Network is unreachable", "192.0.2.1"),
            ("dial tcp 192.0.2.1:443: connect: network is unreachable", "192.0.2.1"),
            ("connect to 2001:db8::1 port 443 failed: Network is unreachable", "2001:db8::1"),
        ] {
            let help = help(Network::None, said).unwrap();
            assert!(
                help.contains(&format!("no network and wants `{expected}`:")),
                "{said}: {help}"
            );
        }
    }

    #[test]
    fn nothing_is_guessed() {
        let nameless = "OSError: [Errno 101] Network is unreachable";
        let told = help(Network::Loopback, nameless).unwrap();
        assert!(told.contains("but a loopback of its own and seems to want one: "), "{told}");
        assert_eq!(help(Network::None, "error: expected `;`"), None);
        assert_eq!(help(Network::Full, nameless), None);
    }
}
