//! Given how far a memory is known, what is asked for next and what an answer teaches.

use events::Uuid;

use super::*;

const EVERY: Duration = Duration::from_mins(1);
const STARTED_S: i64 = 1_000;

fn at(second: i64) -> Time {
    Time::from_millis(1_739_923_140_000 + second * 1_000).unwrap()
}

fn bot() -> BotId {
    BotId(Uuid::from_u128(1))
}

/// Fills at these seconds, as a bot tells them.
fn fills(seconds: impl IntoIterator<Item = i64>) -> Vec<RoundedTrade> {
    let fill = |second: i64| {
        let told = serde_json::json!({
            "market": "okx", "trade_id": format!("t{second}"), "price": "1", "quantity": "1", "symbol": "BTC-USDT",
            "trade_timestamp": at(second).millis(), "trade_type": "BUY",
        });
        serde_json::from_str(&told.to_string()).unwrap()
    };
    seconds.into_iter().map(fill).collect()
}

/// Asks at a second, and learns of the fills at these; how many seconds it reached back, and what is remembered then.
fn ask(memories: &mut Memories, second: i64, seen: impl IntoIterator<Item = i64>) -> (i64, Option<u64>) {
    let asked = memories.question(bot(), "b-1", at(STARTED_S), at(second));
    let Since::Ago(back) = asked.back(at(second)) else { panic!("{asked:?}") };
    let memory = asked.answered(&fills(seen), at(second));
    let remembered = memory.fills;
    memories.learn(bot(), memory);
    (back.as_secs() as i64, remembered)
}

#[test]
fn the_first_question_asks_for_all_and_later_ones_for_what_is_new_and_what_may_be_late() {
    let mut memories = Memories::asked_every(EVERY);
    assert_eq!(ask(&mut memories, 1_060, [1_010, 1_050]), (180, Some(2)));
    assert_eq!(ask(&mut memories, 90_000, [1_010, 1_050, 80_000]), (86_400 + 2_660, Some(3)), "deep, and whole");
    assert_eq!(ask(&mut memories, 90_060, [89_990, 90_010, 90_020]), (180, Some(5)), "two are new");
    let since = |instance| memories.question(bot(), instance, at(STARTED_S), at(90_120)).since;
    assert_eq!((since("b-1"), since("b-2")), (at(90_060), at(STARTED_S)), "another instance is another memory");
}

#[test]
fn one_question_of_fifteen_is_a_deep_one_and_one_that_failed_is_not_asked_again_at_once() {
    let mut memories = Memories::asked_every(EVERY);
    let mut back = |second| ask(&mut memories, second, []).0;
    let reached: Vec<i64> = (1..=32).map(|n| back(200_000 + n * 60)).collect();
    let deep: Vec<usize> = (0..32).filter(|n| reached[*n] == 86_400).map(|n| n + 1).collect();
    assert_eq!(deep, [2, 17, 32]);
    let mut memories = Memories::asked_every(EVERY);
    ask(&mut memories, 200_000, []);
    memories.unanswered(bot());
    assert_eq!(ask(&mut memories, 200_060, []).0, 180);
}

#[test]
fn a_deep_question_reaches_no_further_than_an_answer_can_hold() {
    let mut memories = Memories::asked_every(EVERY);
    ask(&mut memories, 200_000, []);
    let busy = || (0..18_000_i64).map(|n| 200_000 + n / 100);
    ask(&mut memories, 200_060, []);
    for _ in 0..14 {
        ask(&mut memories, 200_180, busy());
    }
    let (back, _) = ask(&mut memories, 200_180, []);
    assert_eq!(back, 333, "at 18,000 fills in two minutes 50,000 are of {back} seconds");
}

#[test]
fn who_takes_over_goes_on_where_the_recorded_figures_end() {
    let mut memories = Memories::asked_every(EVERY);
    let figures = |fills, second| Figures { fills: Some(fills), fills_until: Some(at(second)), ..Figures::default() };
    memories.recorded(bot(), "b-1", &figures(70, 5_000));
    memories.recorded(bot(), "b-1", &figures(60, 4_000));
    memories.recorded(bot(), "b-1", &Figures::default());
    assert_eq!(ask(&mut memories, 5_030, [4_950, 5_010]), (150, Some(71)));
}
