//! Command lines that can be pasted into a shell.

/// The command line of this process with `--request-id` added, unless it is there.
pub(crate) fn retry_command(
    words: impl IntoIterator<Item = String>,
    request: &impl ToString,
) -> String {
    let mut words: Vec<String> = words.into_iter().collect();
    let is_given = words
        .iter()
        .take_while(|word| *word != "--")
        .any(|word| word == "--request-id" || word.starts_with("--request-id="));
    if !is_given {
        let at = words.len().min(1);
        words.splice(at..at, ["--request-id".to_owned(), request.to_string()]);
    }
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

/// A word as a POSIX shell reads it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(words: &[&str], expected: &str) {
        let words = words.iter().map(|word| (*word).to_owned());
        assert_eq!(retry_command(words, &"c@1:7"), expected);
    }

    #[test]
    fn words_are_quoted_and_the_id_added() {
        check(&["raftctl", "put", "k", "v"], "raftctl --request-id c@1:7 put k v");
        check(
            &["./raftctl", "put", "it's", "a b", "", "$x"],
            r"./raftctl --request-id c@1:7 put 'it'\''s' 'a b' '' '$x'",
        );
    }

    #[test]
    fn id_that_was_given_is_kept() {
        check(&["raftctl", "--request-id", "a:1", "del", "k"], "raftctl --request-id a:1 del k");
        check(&["raftctl", "del", "k", "--request-id=a:1"], "raftctl del k --request-id=a:1");
        check(
            &["raftctl", "put", "k", "--", "--request-id"],
            "raftctl --request-id c@1:7 put k -- --request-id",
        );
    }
}
