//! Templates made from examples, and what is like them made from templates.
//!
//! A template is a folder that copier (<https://copier.readthedocs.io/>) can use as well: questions in
//! `copier.yml`, and a tree whose names and `.jinja` files are filled in. Those of cookiecutter are read too.

mod check;
pub mod cli;
mod create;
pub mod engine;
pub mod example;
mod new;
pub mod question;
pub mod spelling;
pub mod template;
pub mod tree;
mod update;
mod vars;
