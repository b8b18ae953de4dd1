//! Cleaning: makes what a step wrote harmless on a screen. Knows control sequences, and the commands
//! that CI runners look for; does not know what the step meant. Logs keep the bytes as they are.

use std::iter::Peekable;
use std::str::Chars;

use kiln::planted::{Bug, is_planted};
use kiln::source::turns_direction;

use super::screen::Screen;

/// The longest control sequence that is taken for one.
const MAX_SEQUENCE_CHARS: usize = 64;

/// What CI runners take for commands anywhere in a line. A space after the marks ends that.
const RUNNER_COMMANDS: [&str; 3] = ["##[", "##vso[", "##teamcity["];

/// Returns a line of a step's output as it may be shown: no control sequences but colours, and those
/// only where the screen has them; of a line that was overwritten, the last state.
pub(crate) fn line(text: &str, screen: &Screen) -> String {
    if is_planted(Bug::PassEscapes) {
        return text.to_owned();
    }
    let state = text.rsplit('\r').find(|state| !state.is_empty()).unwrap_or_default();
    let mut shown = String::with_capacity(state.len());
    let mut is_coloured = false;
    let mut chars = state.chars().peekable();
    while let Some(next) = chars.next() {
        match next {
            '\x1b' => {
                if let Some(colour) = sequence(&mut chars).filter(|_| screen.has_colour) {
                    shown.push_str(&colour);
                    is_coloured = true;
                }
            }
            '\u{9b}' => drop(parameters(&mut chars)),
            '\t' => shown.push_str("    "),
            hidden if hidden.is_control() => {}
            // They turn the order of what follows around, and one could be fooled.
            turned if turns_direction(turned) => shown.push('\u{fffd}'),
            wide if !screen.is_utf8 && !wide.is_ascii() => shown.push('?'),
            plain => shown.push(plain),
        }
    }
    if is_coloured {
        shown.push_str("\x1b[0m");
    }
    without_commands(shown)
}

/// Returns a message as one line that may be shown: the names in it are whatever steps and projects
/// call their files.
pub(crate) fn message(text: &str) -> String {
    without_commands(printable(text).replace('\n', "?"))
}

/// Returns a text in which nothing moves a terminal's cursor or turns the direction of writing, and
/// every byte keeps its place.
pub(crate) fn printable(text: &str) -> String {
    if is_planted(Bug::PassEscapes) {
        return text.to_owned();
    }
    let is_harmful = |c: char| (c.is_control() && !matches!(c, '\n' | '\t')) || turns_direction(c);
    let mut printable = String::with_capacity(text.len());
    for c in text.chars() {
        match (is_harmful(c), c.len_utf8()) {
            (false, _) => printable.push(c),
            (true, 3) => printable.push('\u{fffd}'),
            (true, len) => printable.extend(std::iter::repeat_n('?', len)),
        }
    }
    printable
}

fn without_commands(mut text: String) -> String {
    for command in RUNNER_COMMANDS {
        if text.contains(command) {
            text = text.replace(command, &command.replacen("##", "## ", 1));
        }
    }
    text
}

/// Takes the rest of a sequence that began with escape; returns it if it is a colour.
fn sequence(chars: &mut Peekable<Chars>) -> Option<String> {
    match chars.next()? {
        '[' => {
            let (parameters, end) = parameters(chars)?;
            (end == 'm' && is_visible(&parameters)).then(|| format!("\x1b[{parameters}m"))
        }
        // Texts for the terminal: titles, links, the clipboard. They end with a bell or `ESC \`.
        ']' | 'P' | 'X' | '^' | '_' => {
            while let Some(next) = chars.next() {
                match next {
                    '\x07' | '\u{9c}' => break,
                    '\x1b' => {
                        chars.next_if_eq(&'\\');
                        break;
                    }
                    _ => {}
                }
            }
            None
        }
        // A choice of characters: one more follows.
        ' '..='/' => {
            chars.next();
            None
        }
        _ => None,
    }
}

/// Takes the parameters of a control sequence and the character that ends it.
fn parameters(chars: &mut Peekable<Chars>) -> Option<(String, char)> {
    let mut parameters = String::new();
    for _ in 0..MAX_SEQUENCE_CHARS {
        match chars.next_if(|next| matches!(next, ' '..='~'))? {
            end @ '@'..='~' => return Some((parameters, end)),
            parameter => parameters.push(parameter),
        }
    }
    None
}

/// Returns whether text in these colours can be seen: neither hidden nor blinking.
fn is_visible(parameters: &str) -> bool {
    let mut codes = parameters.split([';', ':']);
    while let Some(code) = codes.next() {
        match code {
            "5" | "6" | "8" => return false,
            // The codes of one colour follow.
            "38" | "48" | "58" => match codes.next() {
                Some("5") => drop(codes.next()),
                Some("2") => drop(codes.nth(2)),
                _ => return false,
            },
            _ if code.bytes().all(|byte| byte.is_ascii_digit()) => {}
            _ => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bare(text: &str) -> String {
        line(text, &Screen::bare())
    }

    fn coloured(text: &str) -> String {
        line(text, &Screen { has_colour: true, ..Screen::bare() })
    }

    #[test]
    fn nothing_a_step_writes_moves_the_cursor_or_talks_to_the_terminal() {
        for (written, shown) in [
            ("plain", "plain"),
            ("\x1b[2J\x1b[Hgone", "gone"),
            ("\x1b[3A\x1b[?25l\x1b[?1049hup", "up"),
            ("\x1b]0;title\x07a\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "alink"),
            ("\x1bP1$r\x1b\\a\x1b_x\x1b\\b", "ab"),
            ("\x1b]52;c;never ends", ""),
            ("\x1bc\x1b7\x1b(Ba\x07\x08\0", "a"),
            ("\u{9b}31mred\u{9d}", "red"),
            ("10%\r50%\r100%\r", "100%"),
            ("a\tb", "a    b"),
            ("\u{202e}txt", "\u{fffd}txt"),
            ("\x1b[31mred\x1b[0m", "red"),
            ("half \x1b[", "half "),
            ("\x1b[31\x1b[2Jx", "x"),
        ] {
            assert_eq!(bare(written), shown, "{written:?}");
        }
    }

    #[test]
    fn colours_stay_where_there_are_colours_and_end_with_the_line() {
        assert_eq!(coloured("\x1b[1;31mred"), "\x1b[1;31mred\x1b[0m");
        assert_eq!(coloured("\x1b[38;5;8mgrey"), "\x1b[38;5;8mgrey\x1b[0m");
        assert_eq!(coloured("\x1b[38;2;1;5;8;1mrgb"), "\x1b[38;2;1;5;8;1mrgb\x1b[0m");
        assert_eq!(coloured("\x1b[8mhidden\x1b[5mblink\x1b[2Jx"), "hiddenblinkx");
        assert_eq!(coloured("\x1b[?1mx\x1b[>4;2my"), "xy");
    }

    #[test]
    fn no_line_is_a_command_of_a_runner() {
        assert_eq!(
            bare("a ##[error]x ##vso[task] ##teamcity[y"),
            "a ## [error]x ## vso[task] ## teamcity[y"
        );
        assert_eq!(bare("#\x1b[0m#[error]x"), "## [error]x");
    }

    #[test]
    fn a_screen_of_ascii_gets_ascii() {
        assert_eq!(line("zwölf €", &Screen { is_utf8: false, ..Screen::bare() }), "zw?lf ?");
    }
}
