"""What a tenant may hear: fewer words, and none from which it learns that something exists."""

from schemas.reasons import Reason
from streams.tenant_vocabulary import ANSWERS, SENTENCES, TenantAnswer, answer_for

# What follows from others' records or from the event itself.
DISCLOSING = {
    Reason.DATA_WINDOW,
    Reason.MERCHANT_TOKEN_MISSING,
    Reason.LABEL_NOT_GENERATED,
    Reason.LABEL_NEEDED,
    Reason.LABEL_AMBIGUOUS,
}


def test_whatever_discloses_sounds_like_having_no_right():
    assert answer_for(Reason.NO_GRANT) is TenantAnswer.NOTHING_TO_TELL
    assert {answer_for(reason) for reason in DISCLOSING} == {TenantAnswer.NOTHING_TO_TELL}
    assert not DISCLOSING & set(ANSWERS)


def test_only_an_allowed_decision_sounds_like_one():
    said = [reason for reason in Reason if answer_for(reason) is TenantAnswer.ENTITLED]
    assert said == [Reason.ALLOWED]


def test_every_answer_has_a_sentence_and_there_are_fewer_than_reasons():
    assert set(SENTENCES) == set(TenantAnswer)
    assert len(TenantAnswer) < len(Reason)
