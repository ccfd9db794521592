{# Half of what statistics need: the standard normal probability beyond |x|, absolute error below 1e-15. Hart (1968),
   algorithm 5666, as arranged by West (2005), "Better approximations to cumulative normal functions", Wilmott Magazine.
   `x` is read many times, so give it a column. Null gives null. #}
{% macro normal_tail(x) -%}
    {%- set numerator = [
        '220.206867912376', '221.213596169931', '112.079291497871', '33.912866078383', '6.37396220353165',
        '0.700383064443688', '0.0352624965998911',
    ] -%}
    {%- set denominator = [
        '440.413735824752', '793.826512519948', '637.333633378831', '296.564248779674', '86.7807322029461',
        '16.064177579207', '1.75566716318264', '0.0883883476483184',
    ] -%}
    {%- set size = 'abs(' ~ x ~ ')' -%}
    case
            when {{ size }} > 37 then cast(0 as double)
            when {{ size }} < 7.07106781186547
                then exp(-0.5 * {{ size }} * {{ size }}) * {{ polynomial(size, numerator) }} / {{ polynomial(size, denominator) }}
            else exp(-0.5 * {{ size }} * {{ size }}) / 2.5066282746310002
                / ({{ size }} + 1 / ({{ size }} + 2 / ({{ size }} + 3 / ({{ size }} + 4 / ({{ size }} + 0.65)))))
        end
{%- endmacro %}


{# The standard normal distribution function of a column. #}
{% macro normal_cdf(x) -%}
    case when {{ x }} > 0 then 1 - {{ normal_tail(x) }} else {{ normal_tail(x) }} end
{%- endmacro %}


{# The two-sided p of a column of z values. #}
{% macro two_sided_p(z) -%}
    2 * {{ normal_tail(z) }}
{%- endmacro %}


{# The sum of coefficient i times x to the power of i, by Horner's rule. Coefficients are texts. #}
{% macro polynomial(x, coefficients) -%}
    {%- set at = namespace(sum='cast(' ~ coefficients[-1] ~ ' as double)') -%}
    {%- for coefficient in coefficients[:-1] | reverse -%}
        {%- set at.sum = '(' ~ at.sum ~ ' * ' ~ x ~ ' + ' ~ coefficient ~ ')' -%}
    {%- endfor -%}
    {{ at.sum }}
{%- endmacro %}


{# A double as a decimal to sum up. A sum of doubles depends on the order of rows, so that two builds of the same rows
   would differ in the last digits; a sum of decimals does not. #}
{% macro summable(number) -%}
    cast({{ number }} as decimal(38, 15))
{%- endmacro %}
