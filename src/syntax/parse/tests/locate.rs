//! Measures how near to a mistake the parser points: takes tokens out of realistic files and puts others
//! in, one at a time.

use super::*;

/// How far from the mistake a finding may begin, in bytes.
const NEAR: usize = 12;

/// One changed file: the text and where it was changed.
struct Mutation {
    text: String,
    change: std::ops::Range<usize>,
    what: String,
}

fn mutations(text: &str, seed: &mut u64) -> Vec<Mutation> {
    let (tokens, _) = scan::scan(SourceId(0), text);
    let tokens: Vec<_> = tokens.into_iter().filter(|token| !token.is_trivia()).collect();
    let mut all = Vec::new();
    for token in &tokens {
        let (start, end) = (token.start as usize, token.end as usize);
        let written = token.text(text);
        all.push(Mutation {
            text: [&text[..start], &text[end..]].concat(),
            change: start..start,
            what: format!("deleted {written:?}"),
        });
        *seed =
            seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let other = tokens[(*seed >> 33) as usize % tokens.len()].text(text);
        all.push(Mutation {
            text: [&text[..start], " ", other, " ", &text[start..]].concat(),
            change: start + 1..start + 1 + other.len(),
            what: format!("inserted {other:?}"),
        });
    }
    all
}

fn distance(finding: &Diagnostic, change: &std::ops::Range<usize>) -> usize {
    let at = finding.span.start as usize;
    change.start.saturating_sub(at).max(at.saturating_sub(change.end))
}

#[test]
#[expect(clippy::print_stdout, reason = "the figure is what one runs this test for")]
fn findings_stand_near_the_mistake() {
    let mut seed = 7;
    let (mut rejected, mut near, mut first_near, mut total, mut findings) = (0, 0, 0, 0, 0);
    for (name, text) in CORPUS {
        for mutation in mutations(text, &mut seed) {
            total += 1;
            let (_, found) = parsed(&mutation.text);
            let errors: Vec<_> =
                found.iter().filter(|finding| finding.severity == Severity::Error).collect();
            let Some(first) = errors.first() else { continue };
            rejected += 1;
            findings += errors.len();
            first_near += usize::from(distance(first, &mutation.change) <= NEAR);
            let best = errors.iter().map(|finding| distance(finding, &mutation.change)).min();
            if best.is_some_and(|best| best <= NEAR) {
                near += 1;
            } else {
                let shown = errors.iter().map(|e| format!("{} {}", e.span.start, e.message));
                let line = mutation.text[..mutation.change.start].lines().count();
                println!(
                    "MISS {name}:{line} {} at {}: {:?}",
                    mutation.what,
                    mutation.change.start,
                    shown.collect::<Vec<_>>()
                );
            }
        }
    }
    println!(
        "{total} mutations, {rejected} rejected, {near} located within {NEAR} bytes ({:.1} %), by the first finding {:.1} %, {:.2} findings each",
        100.0 * near as f64 / rejected as f64,
        100.0 * first_near as f64 / rejected as f64,
        findings as f64 / rejected as f64
    );
    assert!(rejected >= 1_000);
    assert!(near * 100 >= rejected * 90, "{near} of {rejected}");
}
