"""The environments, the same lines for each: see `allowed`."""

from tests.border.public import entry_points, environments, public_names

OPTIONS = """
{name} observation_noise: zero fraction
{name} actuator_delay: zero
{name} mismatch: none
{name} observed: none
"""
ONE = """
{one} render_mode: none
{one}.reset seed: none zero
{one}.reset options: none
gymnasium.make({one}).reset seed: none zero
gymnasium.make({one}).reset options: none
"""
MANY = """
{many} render_mode: none
{many} max_episode_steps: none minus
{many}.reset seed: none zero
{many}.reset options: none
"""


def lines(one: str, many: str) -> str:
    made = [one, many, f"gymnasium.make({one})", f"gymnasium.make_vec({many})"]
    parameters = list(vars(public_names()[one].parameters))[:2]
    return "".join(
        [
            *(OPTIONS.format(name=name) for name in made),
            ONE.format(one=one),
            MANY.format(many=many),
            *(f"{one}(mismatch) {parameter}: zero fraction\n" for parameter in parameters),
        ]
    )


LINES = "".join(lines(one, many) for (_, one), (_, many) in map(entry_points, environments()))
