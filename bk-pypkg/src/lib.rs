//! Python packages set up for pip, Sphinx, the index and Debian, and what others lack of that.
//!
//! What is made is a template of bk-template's, in `template/`, which copier can use as well; the texts of
//! licences are added to it.

mod check;
pub mod cli;
pub mod files;
pub mod git;
pub mod license;
pub mod name;
mod new;
mod template;
