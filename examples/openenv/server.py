"""Products with a second try, as an OpenEnv environment: `python server.py PORT`."""

import random
import sys

import uvicorn
from openenv.core.env_server.http_server import create_fastapi_app
from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import Action, Observation, State


class Answer(Action):
    text: str


class Asked(Observation):
    text: str = ""
    first: float = 0.0


class Products(Environment):
    SUPPORTS_CONCURRENT_SESSIONS = True

    def reset(self, seed=None, episode_id=None, **_):
        draw = random.Random(seed)
        a, b = draw.randint(11, 99), draw.randint(11, 99)
        self.question, self.value = f"What is {a}*{b}?", a * b
        self.progress = State(episode_id=episode_id)
        return Asked(text=self.question)

    def step(self, action, timeout_s=None, **_):
        self.progress.step_count += 1
        right = action.text.strip() == str(self.value)
        first = right and self.progress.step_count == 1
        reward = 1.0 if first else 0.5 if right else 0.0
        if right or self.progress.step_count == 2:
            return Asked(reward=reward, done=True, first=float(first))
        return Asked(text=f"error. {self.question}", reward=reward)

    @property
    def state(self):
        return self.progress


if __name__ == "__main__":
    app = create_fastapi_app(Products, Answer, Asked, max_concurrent_envs=64)
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
