"""Fixtures of the tests that run deliverers."""

from collections.abc import AsyncIterator

import pytest

from streams.settings import KafkaSettings, LayoutSettings
from streams.topics import TopicNames
from tests.deliverer_support import Installation, installation


@pytest.fixture
async def installed(
    kafka_settings: KafkaSettings, layout_settings: LayoutSettings, midgate_topics: TopicNames
) -> AsyncIterator[Installation]:
    async with installation(kafka_settings, layout_settings) as made:
        yield made
