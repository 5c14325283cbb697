//! From a list of which something fails to a shorter one of which it still does.

/// Leaves out ever smaller parts of `items` as long as `fails` (delta debugging, Zeller 2002), until no single one can be
/// spared or `fails` has nothing more to say (`None`). Returns what is left.
pub(super) async fn shrink<T: Clone>(
    mut items: Vec<T>,
    mut fails: impl AsyncFnMut(&[T]) -> anyhow::Result<Option<bool>>,
) -> anyhow::Result<Vec<T>> {
    let mut size = items.len().div_ceil(2);
    while size > 0 {
        let mut spared = false;
        let mut start = 0;
        while start < items.len() {
            let end = (start + size).min(items.len());
            let rest = [&items[..start], &items[end..]].concat();
            match fails(&rest).await? {
                Some(true) => (items, spared) = (rest, true),
                Some(false) => start = end,
                None => return Ok(items),
            }
        }
        size = match (size, spared) {
            (1, true) => 1,
            (1, false) => 0,
            (size, _) => size.div_ceil(2),
        };
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails with all of these; how often it was asked.
    async fn shrunk(needed: &[u32], asked_max: u32) -> (Vec<u32>, u32) {
        let mut asked = 0;
        let fails = async |items: &[u32]| {
            asked += 1;
            let all = needed.iter().all(|item| items.contains(item));
            Ok((asked <= asked_max).then_some(all))
        };
        let left = shrink((0..20).collect(), fails).await.unwrap();
        (left, asked)
    }

    #[tokio::test]
    async fn what_is_left_is_what_it_takes() {
        for needed in [&[][..], &[7], &[0, 19], &[3, 4, 11]] {
            let (left, asked) = shrunk(needed, u32::MAX).await;
            assert_eq!(left, needed);
            assert!(asked <= 60, "{asked} times for {needed:?}");
        }
    }

    #[tokio::test]
    async fn what_was_found_by_the_end_of_patience_counts() {
        let (left, _) = shrunk(&[7], 3).await;
        assert!(left.contains(&7) && left.len() < 20, "{left:?}");
    }
}
