//! Nearness of words: which one an author likely meant. Knows letters; does not know what the words
//! name.

/// Returns the word among `candidates` that `word` was likely meant to be: at most a third of its
/// letters differ, the nearest first, then the alphabet.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // Longer words cost quadratic time and are no slips of the finger.
    const LONGEST: usize = 64;
    if word.len() > LONGEST {
        return None;
    }
    let lower = word.to_lowercase();
    // Of two letters, one that differs is half of the word.
    let allowed = match word.chars().count() {
        0..3 => 0,
        letters => letters / 3,
    };
    candidates
        .into_iter()
        .filter(|candidate| *candidate != word && candidate.len() <= LONGEST)
        .map(|candidate| (strsim::osa_distance(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| {
            *distance <= allowed || (word.len() >= 3 && candidate.starts_with(word))
        })
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_a_slip_away() {
        let words = ["binary", "library", "report"];
        assert_eq!(nearest("binray", words), Some("binary"));
        assert_eq!(nearest("Report", words), Some("report"));
        assert_eq!(nearest("lib", words), Some("library"));
        assert_eq!(nearest("x", words), None);
        assert_eq!(nearest("x", ["y", "X1", "X"]), Some("X"));
        assert_eq!(nearest(&"b".repeat(100_000), words), None);
    }
}
