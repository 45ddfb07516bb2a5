"""A small canvas in world coordinates, drawn with pygame, which is imported only when needed."""

from typing import Any

import numpy as np
from gymnasium.error import DependencyNotInstalled
from numpy.typing import NDArray

Array = NDArray[np.float64]
Color = tuple[int, int, int]

INK: Color = (38, 38, 38)
GRID: Color = (214, 214, 214)
BLUE: Color = (0, 114, 178)
ORANGE: Color = (213, 94, 0)
GREEN: Color = (0, 158, 115)


class Canvas:
    """A square white picture whose world coordinates are set with :meth:`view`.

    Args:
        size: Width and height in pixels.
    """

    def __init__(self, size: int = 500) -> None:
        pygame = _pygame()
        self.size = size
        self.surface = pygame.Surface((size, size))
        self.surface.fill((255, 255, 255))
        self.view((-1.0, 1.0), (-1.0, 1.0))

    def view(self, x: tuple[float, float], y: tuple[float, float]) -> None:
        """Set the world range that the picture spans."""
        self._low = np.array([x[0], y[0]])
        self._span = np.array([x[1] - x[0], y[1] - y[0]])

    def _pixels(self, points: Array) -> list[tuple[float, float]]:
        unit = (np.atleast_2d(points) - self._low) / self._span
        return [(float(a * self.size), float((1.0 - b) * self.size)) for a, b in unit]

    def line(self, points: Array, color: Color = INK, width: int = 1) -> None:
        """Draw the polyline through points (k, 2)."""
        if len(points) > 1:
            _pygame().draw.lines(self.surface, color, False, self._pixels(points), width)

    def polygon(self, corners: Array, color: Color = INK, width: int = 0) -> None:
        """Fill the polygon with corners (k, 2), or draw its outline of a width in pixels."""
        _pygame().draw.polygon(self.surface, color, self._pixels(corners), width)

    def disc(self, center: Array, radius: int, color: Color = INK, width: int = 0) -> None:
        """Draw a disc (width 0) or circle around center (2,); the radius is in pixels."""
        _pygame().draw.circle(self.surface, color, self._pixels(center)[0], radius, width)

    def image(self) -> NDArray[np.uint8]:
        """Return the picture, (size, size, 3)."""
        pixels = _pygame().surfarray.array3d(self.surface)
        return np.ascontiguousarray(np.transpose(pixels, (1, 0, 2)), dtype=np.uint8)


class Window:
    """A window that shows canvases at a given rate."""

    def __init__(self, title: str, fps: int) -> None:
        pygame = _pygame()
        pygame.display.init()
        pygame.display.set_caption(title)
        self._screen: Any = None
        self._clock = pygame.time.Clock()
        self._fps = fps

    def show(self, canvas: Canvas) -> None:
        """Show the canvas, waiting as long as the frame rate asks."""
        pygame = _pygame()
        if self._screen is None:
            self._screen = pygame.display.set_mode((canvas.size, canvas.size))
        self._screen.blit(canvas.surface, (0, 0))
        pygame.event.pump()
        self._clock.tick(self._fps)
        pygame.display.flip()

    def close(self) -> None:
        """Close the window."""
        _pygame().display.quit()


def _pygame() -> Any:
    try:
        import pygame
    except ImportError as error:
        raise DependencyNotInstalled(
            "pictures need pygame: pip install 'koopman-control[render]'"
        ) from error
    return pygame
