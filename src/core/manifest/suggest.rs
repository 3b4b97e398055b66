//! Did you mean: the name that somebody probably meant to write.

use super::problem::Hint;

/// The most names that a slip is compared with. There may be as many slips as there are names.
const MOST_COMPARED: usize = 300;

/// The most names that a hint lists.
const MOST_LISTED: usize = 20;

/// The one of `names` that is most like `written`, if one is like it at all.
pub(crate) fn nearest<'a>(written: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A third of the letters may be wrong: enough for a slip or two, too little for another word.
    let tolerated = (written.chars().count().max(3) / 3).min(3);
    names
        .into_iter()
        .take(MOST_COMPARED)
        .map(|name| (distance(&written.to_lowercase(), name), name))
        .filter(|(distance, _)| *distance <= tolerated)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// The nearest of `names`, or all of them.
pub(crate) fn nearest_or_all<'a>(
    written: &str,
    what: &'static str,
    names: impl IntoIterator<Item = &'a str> + Clone,
) -> Option<Hint> {
    if let Some(name) = nearest(written, names.clone()) {
        return Some(Hint::DidYouMean(name.to_owned()));
    }
    let mut names = names.into_iter();
    let listed: Vec<_> = names.by_ref().take(MOST_LISTED).map(str::to_owned).collect();
    (!listed.is_empty()).then(|| Hint::OneOf { what, names: listed, more: names.count() })
}

/// How many letters have to be changed, added, taken away or swapped with their neighbour to make one of the other.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for i in 0..one.len() {
        let mut row = vec![i + 1];
        for j in 0..other.len() {
            let changed = last[j] + usize::from(one[i] != other[j]);
            let mut least = changed.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && one[i] == other[j - 1] && one[i - 1] == other[j] {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        let keys = ["depends_on", "runtime", "restart", "ready", "db"];
        for (written, meant) in [
            ("depend_on", Some("depends_on")),
            ("dependson", Some("depends_on")),
            ("Runtime", Some("runtime")),
            ("raedy", Some("ready")),
            ("bd", Some("db")),
            ("image", None),
            ("", None),
        ] {
            assert_eq!(nearest(written, keys), meant, "{written}");
        }
    }

    #[test]
    fn without_a_likeness_all_are_listed() {
        let all = nearest_or_all("zzzzzz", "the services", ["a", "b"]).unwrap();
        assert_eq!(all.to_string(), "the services: a, b");
        assert_eq!(nearest_or_all("x", "the services", []), None);
        let many = nearest_or_all("zzzzzz", "the services", ["a"; 25]).unwrap().to_string();
        assert!(many.ends_with("a, a, a and 5 more"), "{many}");
    }
}
