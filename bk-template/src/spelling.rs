//! The ways one name is spelled in a project: `my-package`, `my_package`, `MyPackage`, `MY_PACKAGE`.

/// How the words of a name are written together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Style {
    /// `my_package`
    Snake,
    /// `my-package`
    Kebab,
    /// `my.package`
    Dotted,
    /// `my package`
    Spaced,
    /// `mypackage`
    Flat,
    /// `MyPackage`
    Pascal,
    /// `myPackage`
    Camel,
    /// `My Package`
    Title,
    /// `MY_PACKAGE`
    UpperSnake,
    /// `MY-PACKAGE`
    UpperKebab,
    /// `MYPACKAGE`
    UpperFlat,
}

impl Style {
    /// All of them; of those that spell a name the same, the first one counts.
    pub const ALL: [Self; 11] = [
        Style::Snake,
        Style::Kebab,
        Style::Dotted,
        Style::Spaced,
        Style::Flat,
        Style::Pascal,
        Style::Camel,
        Style::Title,
        Style::UpperSnake,
        Style::UpperKebab,
        Style::UpperFlat,
    ];

    /// What the variable of a spelling is called, after the name's own.
    pub fn suffix(self) -> &'static str {
        match self {
            Style::Snake => "snake",
            Style::Kebab => "kebab",
            Style::Dotted => "dotted",
            Style::Spaced => "spaced",
            Style::Flat => "flat",
            Style::Pascal => "pascal",
            Style::Camel => "camel",
            Style::Title => "title",
            Style::UpperSnake => "upper_snake",
            Style::UpperKebab => "upper_kebab",
            Style::UpperFlat => "upper_flat",
        }
    }

    /// A name's words so written.
    pub fn spell(self, words: &[String]) -> String {
        let title = |word: &String| {
            let mut letters = word.chars();
            letters.next().map(|c| c.to_uppercase().chain(letters).collect()).unwrap_or_default()
        };
        let titles: Vec<String> = words.iter().map(title).collect();
        match self {
            Style::Snake => words.join("_"),
            Style::Kebab => words.join("-"),
            Style::Dotted => words.join("."),
            Style::Spaced => words.join(" "),
            Style::Flat => words.concat(),
            Style::Pascal => titles.concat(),
            Style::Camel => match (words.first(), titles.get(1..)) {
                (Some(first), Some(rest)) => first.clone() + &rest.concat(),
                _ => String::new(),
            },
            Style::Title => titles.join(" "),
            Style::UpperSnake => words.join("_").to_uppercase(),
            Style::UpperKebab => words.join("-").to_uppercase(),
            Style::UpperFlat => words.concat().to_uppercase(),
        }
    }

    /// The expression of Jinja that spells the value of a variable so. Only what Jinja2 has itself is in it,
    /// so that copier fills it in as well.
    pub fn expression(self, variable: &str) -> String {
        let words = format!("{variable}|replace('-', ' ')|replace('_', ' ')|replace('.', ' ')");
        let joined = |with: &str| format!("{words}|lower|replace(' ', '{with}')");
        match self {
            Style::Snake => joined("_"),
            Style::Kebab => joined("-"),
            Style::Dotted => joined("."),
            Style::Spaced => format!("{words}|lower"),
            Style::Flat => joined(""),
            Style::Pascal => format!("{words}|title|replace(' ', '')"),
            Style::Camel => {
                let pascal = Style::Pascal.expression(variable);
                format!("({pascal})[:1]|lower ~ ({pascal})[1:]")
            }
            Style::Title => format!("{words}|title"),
            Style::UpperSnake => format!("{}|upper", joined("_")),
            Style::UpperKebab => format!("{}|upper", joined("-")),
            Style::UpperFlat => format!("{}|upper", joined("")),
        }
    }
}

/// The words of a name that says where they end; `None` where it does not, as `MyPackage` (which another
/// could not be taken apart like) or `1.0`.
pub fn words(name: &str) -> Option<Vec<String>> {
    let words: Vec<&str> = name.split(['-', '_', '.', ' ']).collect();
    let plain = |word: &&str| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    let title = |word: &&str| {
        let mut bytes = word.bytes();
        bytes.next().is_some_and(|b| b.is_ascii_uppercase())
            && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    let known = words.iter().all(plain) || (words.iter().all(title) && words.len() > 1);
    known.then(|| words.iter().map(|word| word.to_ascii_lowercase()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bk::Result;

    #[test]
    fn the_engine_spells_as_we_do() -> Result<()> {
        let environment = minijinja::Environment::new();
        for name in ["my-package", "my_package", "x", "a.b.c2", "My Own Package"] {
            let words = words(name).unwrap_or_default();
            for style in Style::ALL {
                let template = format!("{{{{ {} }}}}", style.expression("name"));
                let made = environment.render_str(&template, minijinja::context! { name })?;
                assert_eq!(made, style.spell(&words), "{name} {style:?}");
            }
        }
        Ok(())
    }

    #[test]
    fn only_what_says_where_words_end_has_words() {
        for name in ["MyPackage", "1.0", "", "a--b", "a@example.com", "-a", "Jane", "é-a"] {
            assert_eq!(words(name), None, "{name}");
        }
    }
}
