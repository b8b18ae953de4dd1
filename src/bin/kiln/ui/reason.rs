//! Reasons in words: why a step ran. Knows kinds of change; does not know how they were found.

use kiln::event::{Change, Reason, What};

/// The most reasons that are told in one line.
const MOST: usize = 3;

/// Returns the reasons in one line.
pub(crate) fn line(reasons: &[Reason]) -> String {
    let told: Vec<_> = reasons.iter().take(MOST).map(one).collect();
    let more = reasons.len() - told.len();
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    format!("{}{more}", told.join(", "))
}

/// Returns one reason: a clause that says what differs from the last run.
pub(crate) fn one(reason: &Reason) -> String {
    let name = &reason.name;
    let subject = match reason.what {
        What::Input => format!("the input `{name}`"),
        What::Upstream => format!("`{name}`"),
        What::Env => format!("the variable `{name}`"),
        What::Command => "its command".to_owned(),
        What::Outs if name.is_empty() => "the list of its outs".to_owned(),
        What::Outs => format!("its out `{name}`"),
        What::Tool => format!("the tool `{name}`"),
        What::Service => format!("the service `{name}`"),
        What::Host => format!("this machine's `{name}`"),
        What::Setting if name.is_empty() => "its settings".to_owned(),
        What::Setting => format!("the setting `{name}`"),
        What::Result => return result(reason.change).to_owned(),
    };
    match reason.change {
        Change::Added => format!("{subject} is new"),
        Change::Removed => format!("{subject} is gone"),
        Change::Changed => format!("{subject} changed"),
        Change::Unknown => format!("{subject} is not known from an earlier run"),
        Change::Failed => format!("{subject} failed"),
        Change::Forced | Change::Verified => format!("{subject} was asked for"),
    }
}

/// Nothing it is made of differs: the result itself is the reason.
fn result(change: Change) -> &'static str {
    match change {
        Change::Added | Change::Unknown => "no earlier result is in the cache",
        Change::Removed => "its earlier result is no longer in the cache",
        Change::Changed => "its earlier result is damaged",
        Change::Failed => "it failed the last time",
        Change::Forced => "`--rerun` asked for it",
        Change::Verified => "`--verify` asked for it",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_read_as_clauses() {
        let reason = |what, name: &str, change| Reason { what, name: name.to_owned(), change };
        let mut reasons = vec![
            reason(What::Input, "src/a.c", Change::Changed),
            reason(What::Env, "CC", Change::Added),
            reason(What::Upstream, "lib.out", Change::Changed),
        ];
        assert_eq!(
            line(&reasons),
            "the input `src/a.c` changed, the variable `CC` is new, `lib.out` changed"
        );
        reasons.push(reason(What::Result, "", Change::Unknown));
        assert!(line(&reasons).ends_with(", and 1 more"));
        assert_eq!(line(&reasons[3..]), "no earlier result is in the cache");
    }
}
