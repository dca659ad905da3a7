/* A tour of cities in the plane: nearest neighbour, then one pass of 2-opt over short stretches. */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static int n;
static double *x, *y;
static int *tour;

static double distance(int a, int b)
{
    return hypot(x[a] - x[b], y[a] - y[b]);
}

static void nearest_neighbour(void)
{
    char *seen = calloc(n, 1);
    int at = 0;
    for (int k = 0; k < n; k++) {
        int next = -1;
        tour[k] = at;
        seen[at] = 1;
        for (int city = 0; city < n; city++)
            if (!seen[city] && (next < 0 || distance(at, city) < distance(at, next)))
                next = city;
        at = next;
    }
    free(seen);
}

static void reverse(int from, int to)
{
    while (from < to) {
        int city = tour[from];
        tour[from++] = tour[to];
        tour[to--] = city;
    }
}

static void two_opt(int reach)
{
    for (int i = 0; i + 1 < n; i++) {
        for (int j = i + 2; j < i + reach && j < n; j++) {
            int a = tour[i], b = tour[i + 1], c = tour[j], d = tour[(j + 1) % n];
            double gain = distance(a, b) + distance(c, d) - distance(a, c) - distance(b, d);
            if (gain > 1e-12 && a != d)
                reverse(i + 1, j);
        }
    }
}

int main(void)
{
    if (scanf("%d", &n) != 1)
        return 1;
    x = malloc(n * sizeof *x);
    y = malloc(n * sizeof *y);
    tour = malloc(n * sizeof *tour);
    for (int k = 0; k < n; k++)
        if (scanf("%lf %lf", &x[k], &y[k]) != 2)
            return 1;
    nearest_neighbour();
    two_opt(3);
    for (int k = 0; k < n; k++)
        printf("%d\n", tour[k]);
    return 0;
}
