{# One query for many columns, where a test for each would be a statement for each. A failure's row has the number of
   nulls by column. #}
{% test not_null_columns(model, columns) %}

with

counts as (

    select
        {%- for column in columns %}
        count(*) - count({{ column }}) as {{ column }}{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ model }}

),

final as (

    select
        {%- for column in columns %}
        {{ column }}{{ ',' if not loop.last }}
        {%- endfor %}
    from counts
    where {{ columns | join(' + ') }} > 0

)

select * from final

{% endtest %}
