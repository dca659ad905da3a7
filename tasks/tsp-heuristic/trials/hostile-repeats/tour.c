/* Visits one city again and again: the shortest walk there is, and no tour. */
#include <stdio.h>

int main(void)
{
    int n;
    if (scanf("%d", &n) != 1)
        return 1;
    for (int k = 0; k < n; k++)
        printf("0\n");
    return 0;
}
