//! Noting what names and expressions mean, for those who asked for it; costs nothing else. Knows where
//! notes go; does not know who reads them.

use super::Checker;
use crate::lang::meaning::Meaning;
use crate::lang::ty::Type;
use crate::source::Span;

impl Checker<'_> {
    /// Notes what the name at `span` means.
    pub(super) fn note(&mut self, span: Span, ty: &Type, meaning: impl FnOnce() -> Meaning) {
        if let Some(meanings) = &mut self.meanings {
            meanings.add(span, meaning(), ty.clone());
        }
    }

    /// Notes the type of the expression at `span`.
    pub(super) fn note_type(&mut self, span: Span, ty: &Type) {
        if let Some(meanings) = &mut self.meanings {
            meanings.add_type(span, ty.clone());
        }
    }
}
