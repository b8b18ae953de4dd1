//! Checking scripts of Python and Node: what their holes hold, and whose names stand in them. Knows
//! what each language calls things; does not know how they are lexed.

use super::script::is_list;
use super::{Checker, Scope};
use crate::diagnostic::{Code, Diagnostic};
use crate::lang::ty::Type;
use crate::source::Span;
use crate::syntax::ast::{Dialect, Expr, ExprKind, Piece, StringLiteral};
use crate::syntax::code;

impl<'p> Checker<'p> {
    pub(super) fn code(&mut self, dialect: Dialect, script: &'p StringLiteral, scope: &mut Scope) {
        let analysis = code::analyse(dialect, script);
        let mut is_text = Vec::new();
        for piece in &script.pieces {
            let Piece::Hole { expr, span } = piece else { continue };
            let found = self.code_hole((expr, *span), &analysis, scope);
            if !self.refuse_uncertain(expr) && !is_readable(&found) {
                self.printable(found.certain(), expr);
            }
            is_text.push(is_text_of_the_language(&found));
        }
        for problem in code::diagnostics(script, &analysis, &is_text) {
            self.report(problem);
        }
        self.dollars(&analysis, scope);
    }

    /// Returns the type of a hole. A name that only the script knows is the script's.
    fn code_hole(
        &mut self,
        (expr, span): (&'p Expr, Span),
        analysis: &code::Code,
        scope: &mut Scope,
    ) -> Type {
        match &expr.kind {
            ExprKind::Name(name) if self.is_secret(name, scope) => {
                let (how, written) = match analysis.dialect {
                    Dialect::Python => ("as Python does", format!("os.environ[\"{name}\"]")),
                    Dialect::JavaScript => ("as Node does", format!("process.env.{name}")),
                };
                let fits = analysis.dialect != Dialect::Python || analysis.names.contains("os");
                self.secret_in_hole((name, &written), (expr.span, span), (how, fits), scope);
                Type::Unknown
            }
            ExprKind::Name(name)
                if analysis.names.contains(name) && !self.is_visible(name, scope) =>
            {
                let message =
                    format!("`{name}` is a name of the script, not a value of the pipeline");
                let problem = Diagnostic::error(Code::SHELL_VARIABLE, expr.span, message)
                    .help(format!("write it without braces: {name}"))
                    .edit(span, &**name);
                self.report(problem);
                Type::Unknown
            }
            _ if is_list(expr) => self.words(expr, scope),
            _ => self.expr(expr, scope),
        }
    }

    /// Reports `$name` where only the pipeline has such a name.
    fn dollars(&mut self, analysis: &code::Code, scope: &Scope) {
        for dollar in &analysis.dollars {
            let name = &dollar.name;
            if self.is_visible(name, scope) {
                let message =
                    format!("`${name}` is nothing in Python; `{name}` is a value of the pipeline");
                let hole = format!("{{{{{name}}}}}");
                let problem = Diagnostic::error(Code::SHELL_VARIABLE, dollar.span, message)
                    .help(format!("write {hole}"))
                    .edit(dollar.span, hole);
                self.report(problem);
            }
        }
    }
}

/// Returns whether a script of Python or Node can read a value of that type.
fn is_readable(ty: &Type) -> bool {
    match ty {
        Type::Optional(inner) | Type::List(inner) | Type::Map(inner) => is_readable(inner),
        Type::Record(fields) => fields.values().all(is_readable),
        Type::None | Type::Mixed => true,
        ty => ty.is_text(),
    }
}

/// Returns whether a script reads a value of that type as a string.
fn is_text_of_the_language(ty: &Type) -> bool {
    ty.is_text() && !matches!(ty, Type::Bool | Type::Int(..))
}
